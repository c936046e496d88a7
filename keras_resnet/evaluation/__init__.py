"""Whether a network is right: counts and scores, curves and sheets of pictures, Grad-CAM."""

from keras_resnet.support import lazy

__getattr__, __dir__ = lazy.attach(
    __name__,
    scores="Count Verdicts by_shape check confusion count joined judge likeliest logits per_class score "
    "score_scales total",
)
