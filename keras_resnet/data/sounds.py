"""Encoded sound to samples, at the rate and of the length that a network reads.

`soundfile` (the extra `sound`) decodes whatever it knows by content: wavs of every kind, FLAC, Ogg. Without it the
standard library reads wavs of whole numbers, 8 to 32 bits; anything else is refused with the reason.
"""

import io
import math
import wave
from typing import NamedTuple

import numpy as np

# Of one recording: what is longer is no word or sentence, but hours of a meeting.
LONGEST = 60.0  # seconds
RATES = (1_000, 384_000)  # samples a second, what a recording may say of itself


class Sound(NamedTuple):
    """One recording.

    Args:
        samples: float32 [T] in -1..1, T > 0; the average of its channels.
        rate: samples a second.
    """

    samples: np.ndarray
    rate: int


def decode(encoded: bytes, longest: float = LONGEST) -> Sound:
    """A recording from the content of its file.

    Args:
        encoded: of a wav, or of any format that `soundfile` reads, where that is installed.
        longest: seconds; a file whose header states more is refused before it is decoded.

    Raises:
        ValueError: it cannot be read, holds no samples or some that are no finite numbers, or is too long; a clause to
            follow its name.
    """
    try:
        import soundfile
    except (ImportError, OSError):  # the second where its library is missing
        samples, rate = _by_wave(encoded, longest)
    else:
        samples, rate = _by_soundfile(soundfile, encoded, longest)
    samples = samples.mean(-1, dtype=np.float32)
    if not np.isfinite(samples).all():
        raise ValueError("holds samples that are no finite numbers")
    return Sound(samples, rate)


def resample(sound: Sound, rate: int) -> np.ndarray:
    """Its samples at another rate, float32, by scipy's polyphase filter; at its own rate they are as they were."""
    if sound.rate == rate:
        return sound.samples
    from scipy import signal

    common = math.gcd(sound.rate, rate)
    return signal.resample_poly(sound.samples, rate // common, sound.rate // common).astype(
        np.float32
    )


def fit(samples: np.ndarray, length: int, place: float = 0.5) -> np.ndarray:
    """[T] -> [length], filled up with silence or cut.

    Args:
        length: samples.
        place: in [0, 1], what share of the silence, or of what is cut, comes first; the middle by default.
    """
    spare = length - len(samples)
    before = round(abs(spare) * place)
    if spare < 0:
        return samples[before : before + length]
    return np.pad(samples, (before, spare - before))


def _check(frames, rate, longest):
    if not RATES[0] <= rate <= RATES[1]:
        raise ValueError(
            f"says that it has {rate:,} samples a second, not {RATES[0]:,} to {RATES[1]:,}"
        )
    if not frames:
        raise ValueError("holds no samples")
    if frames > longest * rate:
        raise ValueError(
            f"is {frames / rate:,.0f} seconds long, more than the {longest:g} that are read"
        )


def _by_soundfile(soundfile, encoded, longest):
    try:
        with soundfile.SoundFile(io.BytesIO(encoded)) as file:
            _check(file.frames, file.samplerate, longest)
            return file.read(dtype="float32", always_2d=True), file.samplerate
    except soundfile.SoundFileError as error:
        raise ValueError(f"is no readable sound ({error})".replace("\n", " ")) from None


def _by_wave(encoded, longest):
    try:
        with wave.open(io.BytesIO(encoded)) as file:
            channels, width, rate, frames = file.getparams()[:4]
            _check(frames, rate, longest)
            raw = file.readframes(frames)
    except (wave.Error, EOFError) as error:
        raise ValueError(
            f"is no readable wav ({error or 'it ends too early'}): without soundfile (the extra `sound`) wavs of whole "
            "numbers are read, of 8 to 32 bits"
        ) from None
    if len(raw) < frames * channels * width or not 1 <= width <= 4:
        raise ValueError("ends before its samples do")
    return _floats(np.frombuffer(raw, np.uint8), width).reshape(-1, channels), rate


def _floats(raw, width):
    """Little-endian whole numbers of `width` bytes, unsigned if of one -> float32 in -1..1."""
    if width == 1:
        return (raw.astype(np.float32) - 128) / 128
    highest = np.zeros((len(raw) // width, 4), np.uint8)
    highest[:, 4 - width :] = raw.reshape(-1, width)
    return (highest.view("<i4")[:, 0] / 2.0**31).astype(np.float32)
