"""What training draws for a picture or a batch of them."""

from keras_resnet.support import lazy

__getattr__, __dir__ = lazy.attach(
    __name__,
    crop_flip="CropFlip channel_mean pad_crop_flip pixel_mean prepare",
    erasing="RandomErasing",
    mixing="Colour Mix",
    randaugment="RandAugment",
    trivialaugment="TrivialAugment",
    windows="RandomResizedCrop ScaleCrop",
)
