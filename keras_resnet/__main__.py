"""`python -m keras_resnet`: the command `keras-resnet`, where no shell finds that."""

import keras_resnet_he

if __name__ == "__main__":
    keras_resnet_he.main()
