"""What training draws for a recording: its place and speed, and what is not heard of it."""

import dataclasses

import numpy as np

from keras_resnet.data import sounds

_QUIET = 1e-3  # -60 dB, in place of nothing: of silence a network learns what no recording has


@dataclasses.dataclass(frozen=True)
class Hearing:
    """Another hearing of a recording: faster or slower, earlier or later, with a band and a moment of it muffled.

    The last two are SpecAugment's masks (Park 2019) on the waveform, so that they serve networks of every front. Speed
    moves pitch and formants with it, as other speakers do.

    Args:
        speed: largest change, as a natural logarithm: 0.2 plays 0.82 to 1.22 times as fast.
        band: widest share of the frequencies that is muffled, in [0, 1).
        moment: longest share of the time that is muffled, in [0, 1).
        shifted: whether it stands anywhere within the length, not in the middle.
    """

    speed: float = 0.2
    band: float = 0.15
    moment: float = 0.1
    shifted: bool = True

    def __post_init__(self):
        if min(self.speed, self.band, self.moment) < 0 or max(self.band, self.moment) >= 1:
            raise ValueError(
                "Hearing takes a speed of at least 0, and a band and a moment in [0, 1); got "
                f"speed={self.speed}, band={self.band}, moment={self.moment}."
            )

    def __call__(
        self, samples: np.ndarray, length: int, generator: np.random.Generator
    ) -> np.ndarray:
        """[T] -> [length], float32; `generator` gives six numbers, whatever is asked for."""
        speed, place, wide, low, long, start = generator.random(6)
        samples = _played(samples, np.exp(self.speed * (2 * speed - 1)))
        samples = sounds.fit(samples, length, place if self.shifted else 0.5)
        if self.band:
            spectrum = np.fft.rfft(samples)
            spectrum[_part(len(spectrum), self.band * wide, low)] *= _QUIET
            samples = np.fft.irfft(spectrum, length)
        samples = np.array(samples, np.float32)
        samples[_part(length, self.moment * long, start)] *= _QUIET
        return samples


def _played(samples, speed):
    """At another speed, between samples by straight lines."""
    at = np.arange(max(1, int(len(samples) / speed))) * speed
    return np.interp(at, np.arange(len(samples)), samples)


def _part(length, share, place):
    wide = int(share * length)
    first = int(place * (length - wide + 1))
    return slice(first, first + wide)
