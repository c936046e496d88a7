"""What ImageNet's recipe does to pictures while it trains, from its flags."""

import functools
from collections.abc import Callable

from absl import flags

from keras_resnet.commands import run
from keras_resnet.data.augment import erasing, mixing, randaugment, trivialaugment, windows

FLAGS = flags.FLAGS
# What a checkpoint must agree on with the command that resumes from it; see `agreed` for the others.
BINDING = (
    "size", "window", "low", "high", "area", "antialias", "pca", "jitter", "randaugment", "mixup", "cutmix",
)  # fmt: skip
# flag: (the flag and the value that it belongs to).
BELONGS = {
    "low": ("window", "scale"),
    "high": ("window", "scale"),
    "area": ("window", "area"),
}


def define() -> None:
    """Defines --size, --window, and what is drawn for a picture or a batch."""
    flags.DEFINE_integer("size", 224, "Pixels, the training windows' side.", lower_bound=32)
    flags.DEFINE_enum(
        "window",
        "scale",
        ["scale", "area"],
        "scale: shorter side from --low to --high, then a window (paper, 3.4); area: a window of "
        "--area of the picture, of random shape (Szegedy 2015).",
    )
    flags.DEFINE_integer("low", 256, "scale: lowest shorter side, pixels.", lower_bound=1)
    flags.DEFINE_integer("high", 480, "scale: highest shorter side, pixels.", lower_bound=1)
    flags.DEFINE_float("area", 0.08, "area: smallest share of the picture.", 0.0, 1.0)
    flags.DEFINE_bool("antialias", False, "Average over all source pixels where a window shrinks.")
    flags.DEFINE_float(
        "pca", 0.1, "Standard deviation of the colour noise (Krizhevsky 2012, 4.1).", 0.0
    )
    flags.DEFINE_float(
        "jitter", 0.0, "Brightness, contrast, saturation by up to this share.", 0.0, 1.0
    )
    flags.DEFINE_float("randaugment", 0.0, "Magnitude, 0 to 10; 0: none (Cubuk 2020).", 0.0, 10.0)
    flags.DEFINE_bool(
        "trivialaugment", False, "One operation of a random strength (Müller 2021, wide)."
    )
    flags.DEFINE_float(
        "erasing", 0.0, "Chance that a rectangle is painted over (Zhong 2017).", 0.0, 1.0
    )
    flags.DEFINE_integer("repeats", 1, "Times that a picture is in a batch (Hoffer 2020).", 1)
    flags.DEFINE_float("mixup", 0.0, "Beta's parameter; 0: none (Zhang 2018).", 0.0)
    flags.DEFINE_float("cutmix", 0.0, "Beta's parameter; 0: none (Yun 2019).", 0.0)


def check() -> None:
    """Raises ValueError where flags of windows contradict each other, by name."""
    run.refuse_strays(BELONGS)
    if FLAGS.window == "scale" and FLAGS.size > FLAGS.low:
        raise ValueError(
            f"--size={FLAGS.size} is larger than --low={FLAGS.low}: a window must fit into the "
            "smallest picture; raise --low and --high, or take --window=area."
        )
    if FLAGS.low > FLAGS.high:
        raise ValueError(f"--low={FLAGS.low} is above --high={FLAGS.high}: exchange them.")


def window() -> windows.ScaleCrop | windows.RandomResizedCrop:
    """Where a picture is looked at."""
    if FLAGS.window == "scale":
        return windows.ScaleCrop(FLAGS.low, FLAGS.high, antialias=FLAGS.antialias)
    return windows.RandomResizedCrop(scale=(FLAGS.area, 1.0), antialias=FLAGS.antialias)


def of_each() -> Callable | None:
    """What `stream.Feed` does to each picture, one after another of what the flags ask for; None for nothing."""
    asked = []
    if FLAGS.randaugment:
        asked.append(randaugment.RandAugment(FLAGS.randaugment))
    if FLAGS.trivialaugment:
        asked.append(trivialaugment.TrivialAugment())
    if FLAGS.erasing:
        asked.append(erasing.RandomErasing(FLAGS.erasing))
    if not asked:
        return None
    return lambda picture, generator: functools.reduce(
        lambda seen, augment: augment(seen, generator), asked, picture
    )


def colour() -> mixing.Colour | None:
    """What is done to the colours of a batch; None for nothing."""
    return mixing.Colour(FLAGS.pca, FLAGS.jitter) if FLAGS.pca or FLAGS.jitter else None


def mix() -> mixing.Mix | None:
    """How the pictures of a batch are mixed; None for not at all."""
    return mixing.Mix(FLAGS.mixup, FLAGS.cutmix) if FLAGS.mixup or FLAGS.cutmix else None


def agreed() -> dict:
    """What a checkpoint of these flags must agree on with the command that resumes from it; None stands for what
    checkpoints of before a flag do not have."""
    found = {f"--{name}": getattr(FLAGS, name) for name in BINDING}
    found["--repeats"] = None if FLAGS.repeats == 1 else FLAGS.repeats
    found |= {f"--{name}": getattr(FLAGS, name) or None for name in ("trivialaugment", "erasing")}
    return found
