"""Raw pictures, sound or tokens -> the tensor that a stem reads, so that a network's rank is what its front makes.

What raw input needs is part of the network, so no caller can get it wrong.
"""

import dataclasses

import keras
from keras import ops

from keras_resnet.networks import layers
from keras_resnet.networks.log_mel import LogMel


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """What the first layer does to RGB pictures in 0..255: ``(x - mean) / std``, then BGR where asked.

    Args:
        mean, std: of the channels in R, G, B order, in units of 0..255.
        bgr: reverse the channels afterwards (networks trained by Caffe).
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    bgr: bool = False

    def __post_init__(self):
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise ValueError(
                "Preprocessing takes three means and three positive standard deviations, for R, G and B "
                f"in 0..255; got mean={self.mean}, std={self.std}."
            )


# The modes of keras.applications.imagenet_utils.preprocess_input.
MODES: dict[str, Preprocessing] = {
    "torch": Preprocessing(
        mean=(0.485 * 255, 0.456 * 255, 0.406 * 255), std=(0.229 * 255, 0.224 * 255, 0.225 * 255)
    ),
    "caffe": Preprocessing(mean=(123.68, 116.779, 103.939), bgr=True),
    "tf": Preprocessing(mean=(127.5, 127.5, 127.5), std=(127.5, 127.5, 127.5)),
}


def named(preprocessing: str | Preprocessing) -> Preprocessing:
    """The `Preprocessing` of a mode's name; one that is given comes back.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(preprocessing, str):
        preprocessing = MODES.get(preprocessing, preprocessing)
    if not isinstance(preprocessing, Preprocessing):
        raise ValueError(
            f"preprocessing must be one of {', '.join(MODES)}, None or a Preprocessing; got {preprocessing!r}."
        )
    return preprocessing


def same(one: str | Preprocessing, other: str | Preprocessing, channels: int = 3) -> bool:
    """Whether two do the same to pictures of so many channels: statistics in 0..255 within 0.001 of each other.

    Raises:
        ValueError: one is neither a mode nor a `Preprocessing`.
    """
    one, other = named(one), named(other)
    values = zip(_statistics(one, channels), _statistics(other, channels), strict=True)
    return all(abs(a - b) < 1e-3 for a, b in values) and (channels != 3 or one.bgr == other.bgr)


def _statistics(preprocessing, channels):
    """Means, then standard deviations, of each channel; for other than 3 channels each is the average of the three."""
    mean, std = preprocessing.mean, preprocessing.std
    return (
        (*mean, *std) if channels == 3 else (sum(mean) / 3,) * channels + (sum(std) / 3,) * channels
    )


def pictures(
    x: layers.Tensor, preprocessing: str | Preprocessing | None = "torch"
) -> keras.KerasTensor:
    """[B,...,C] pictures, uint8 or float 0..255 -> float32, normalised under any precision policy.

    Args:
        x: symbolic Keras tensor; 3 channels are RGB. With 1 or 4 channels each is normalised by the average
            of the three channels' statistics, and their order stays.
        preprocessing: "torch", "caffe" or "tf", the modes of keras.applications.imagenet_utils; a
            `Preprocessing`; or None for a tensor that the caller has normalised.

    Raises:
        ValueError: unknown mode, or other than 1, 3 or 4 channels.
    """
    if preprocessing is None:
        return x
    preprocessing = named(preprocessing)
    axis, channels = layers.channel_axis(), layers.channels(x)
    if channels not in (1, 3, 4):
        raise ValueError(
            f"preprocessing knows pictures of 1, 3 or 4 channels; got {channels} ({layers.data_format()}): "
            "normalise them yourself and pass preprocessing=None."
        )
    statistics = _statistics(preprocessing, channels)
    x = keras.layers.Normalization(
        axis=axis,
        mean=tuple(statistics[:channels]),
        variance=tuple(s * s for s in statistics[channels:]),
        dtype="float32",
        name="preprocessing",
    )(x)
    return ops.flip(x, axis=axis) if channels == 3 and preprocessing.bgr else x


def tokens(x: layers.Tensor, vocabulary: int, width: int) -> keras.KerasTensor:
    """[B,T] numbers of tokens in 0..vocabulary-1 -> [B,T,width], a learned vector for each: rank 1.

    Args:
        x: symbolic Keras tensor of integers. Numbers beyond the vocabulary raise in TensorFlow on a CPU, and are zeros
            or another token's vector elsewhere: check them before.
        vocabulary: how many tokens there are.
        width: of a vector.

    Raises:
        ValueError: x is of another rank, or vocabulary or width below 1.
    """
    if len(x.shape) != 2 or min(vocabulary, width) < 1:
        raise ValueError(
            "tokens takes numbers [B,T], and a vocabulary and a width of at least 1; got a tensor of shape "
            f"{x.shape}, vocabulary={vocabulary}, width={width}."
        )
    x = keras.layers.Embedding(vocabulary, width, name="embedding")(x)
    first = layers.channel_axis() == 1
    return keras.layers.Permute((2, 1), name="channels_first")(x) if first else x


def waveform(x: layers.Tensor) -> keras.KerasTensor:
    """[B,T] sound -> [B,T,1], divided by the largest sample's size in each example: rank 1, whatever the level was.

    Args:
        x: symbolic Keras tensor, float, of any level; silence stays 0.

    Raises:
        ValueError: x is of another rank.
    """
    x = _sound(x)
    loudest = ops.max(ops.abs(x), axis=1, keepdims=True)
    x = ops.expand_dims(x / ops.maximum(loudest, 1e-8), -1)
    return ops.transpose(x, (0, 2, 1)) if layers.channel_axis() == 1 else x


def log_mel(
    x: layers.Tensor,
    rate: int,
    *,
    frame: float = 0.032,
    step: float = 0.016,
    bands: int = 40,
    decibels: float = 80.0,
) -> keras.KerasTensor:
    """[B,T] sound -> [B,1+T//step,bands,1], its log-mel spectrogram by `LogMel`: rank 2, whatever the level was.

    Args:
        x: symbolic Keras tensor, float, of any level.
        rate: samples a second.
        frame, step: seconds that a frame lasts, and between two.
        bands: between 20 Hz and half the rate.
        decibels: range of the picture below the example's loudest value.

    Raises:
        ValueError: x is of another rank, or what `LogMel` refuses.
    """
    sizes = round(frame * rate), round(step * rate), bands
    x = LogMel(rate, *sizes, decibels=decibels, name="log_mel")(_sound(x))
    return ops.transpose(x, (0, 3, 1, 2)) if layers.channel_axis() == 1 else x


def _sound(x):
    if len(x.shape) != 2:
        raise ValueError(f"Sound is [B,T], one channel; got a tensor of shape {x.shape}.")
    return x
