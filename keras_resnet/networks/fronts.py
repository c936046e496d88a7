"""Raw pictures -> the tensor that a stem reads: normalisation is part of the network, so no caller can get it wrong."""

import dataclasses

import keras
from keras import ops

from keras_resnet.networks import layers


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
