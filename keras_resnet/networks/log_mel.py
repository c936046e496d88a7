"""A waveform as a picture of its sound: log-mel spectrogram, of each example alone."""

import math
from typing import Any

import keras
from keras import ops

from keras_resnet.networks.layers import Tensor

_LEAST = 1e-30  # of power, in place of 0 for silence


@keras.saving.register_keras_serializable("keras_resnet")
class LogMel(keras.layers.Layer):
    """Sound [B,T] -> [B,1+T//step,bands,1], float32 in -1..1: the power in mel bands, in decibels.

    1 is the loudest value of the example, -1 what is `decibels` below it or less, so neither the level of a
    recording nor the others in its batch change its picture; silence is -1 everywhere. (`keras.layers.MelSpectrogram`
    keeps the level, cuts off below the loudest value of the *batch*, and computes on the CPU in TensorFlow's graphs.)

    Frames have a periodic Hann window and stand at every step-th sample, the first at sample 0; beyond its ends the
    waveform is mirrored. Bands are HTK's triangles, equally wide on the mel scale ``2595 log10(1 + f / 700)``.

    Args:
        rate: samples a second.
        frame: samples in a frame, at most twice T - 1.
        step: samples between two frames.
        bands: how many.
        low, high: their limits in Hz; high None is half the rate.
        decibels: range of the picture, above 0.

    Raises:
        ValueError: limits that are out of order or beyond half the rate; bands too narrow for the frame; a range of 0;
            a waveform that is too short.
    """

    def __init__(
        self,
        rate: int,
        frame: int,
        step: int,
        bands: int = 64,
        low: float = 20.0,
        high: float | None = None,
        decibels: float = 80.0,
        **kwargs: Any,
    ):
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        self.rate, self.frame, self.step, self.bands = rate, frame, step, bands
        self.low, self.high, self.decibels = low, rate / 2 if high is None else high, decibels
        if min(rate, step, bands, decibels) <= 0 or not 0 <= self.low < self.high <= rate / 2:
            raise ValueError(
                "LogMel takes a rate, step, bands and decibels above 0 and 0 <= low < high <= rate / 2; got "
                f"rate={rate}, step={step}, bands={bands}, decibels={decibels}, low={self.low}, high={self.high}."
            )
        self._matrix = _triangles(rate, frame, bands, self.low, self.high)
        if not all(map(any, zip(*self._matrix, strict=True))):
            raise ValueError(
                f"{bands} bands between {self.low:g} and {self.high:g} Hz are narrower than a frame of {frame} samples "
                f"tells apart at {rate} Hz: take fewer bands or a longer frame."
            )

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        length = input_shape[1]
        if len(input_shape) != 2:
            raise ValueError(f"LogMel reads sound [B,T]; got a tensor of shape {input_shape}.")
        if length is not None and length <= self.frame // 2:
            raise ValueError(
                f"A waveform of {length} samples is shorter than half a frame of {self.frame}."
            )

    def call(self, x: Tensor) -> Tensor:
        """[B,T] -> [B,F,bands,1], floating point."""
        real, imaginary = ops.stft(x, self.frame, self.step, self.frame)
        matrix = ops.convert_to_tensor(self._matrix, dtype=real.dtype)
        power = ops.matmul(ops.square(real) + ops.square(imaginary), matrix)
        loudest = ops.max(power, axis=(1, 2), keepdims=True)
        least = 10.0 ** (-self.decibels / 10)
        ratio = ops.maximum(power / ops.maximum(loudest, _LEAST), least)
        # log(10) / 10 nepers are a decibel
        y = 1.0 + ops.log(ratio) * (20.0 / math.log(10) / self.decibels)
        return ops.expand_dims(y, -1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, length = input_shape
        return batch, None if length is None else 1 + length // self.step, self.bands, 1

    def get_config(self) -> dict[str, Any]:
        own = ("rate", "frame", "step", "bands", "low", "high", "decibels")
        return super().get_config() | {name: getattr(self, name) for name in own}


def _triangles(rate, frame, bands, low, high):
    """[1 + frame // 2][bands]: what each frequency of a frame adds to each band."""

    def mel(frequency):
        return 2595.0 * math.log10(1.0 + frequency / 700.0)

    width = (mel(high) - mel(low)) / (bands + 1)
    frequencies = [mel(k * rate / frame) for k in range(1 + frame // 2)]
    centres = [mel(low) + width * (band + 1) for band in range(bands)]
    return [[max(1.0 - abs(f - centre) / width, 0.0) for centre in centres] for f in frequencies]
