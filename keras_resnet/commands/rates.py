"""The learning rate of a run of ImageNet's recipe, from its flags."""

from absl import flags

from keras_resnet.commands import run
from keras_resnet.training import schedules

FLAGS = flags.FLAGS
# What a checkpoint must agree on with the command that resumes from it; see `agreed` for the others.
BINDING = ("schedule", "rate", "boundaries", "patience", "warm_up", "warm_up_rate")
# flag: (the flag and the value that it belongs to).
BELONGS = {
    "boundaries": ("schedule", "steps"),
    "patience": ("schedule", "plateau"),
    "cosine_from": ("schedule", "stepped_cosine"),
    "lowest_rate": ("schedule", "stepped_cosine"),
    "rate_every": ("schedule", "stepped_cosine"),
}


def define() -> None:
    """Defines --schedule, --rate, and what belongs to the schedules."""
    flags.DEFINE_enum(
        "schedule",
        "plateau",
        ["constant", "steps", "cosine", "stepped_cosine", "plateau"],
        "How the rate goes; stepped_cosine: as timm's and torchvision's, which moves once an epoch.",
    )
    flags.DEFINE_float("rate", 0.1, "Highest learning rate.", 0.0)
    flags.DEFINE_list("boundaries", [], "steps: those from which the rate is a tenth.")
    flags.DEFINE_integer("patience", 5, "plateau: evaluations without a better error.", 1)
    flags.DEFINE_integer("rate_every", 1, "stepped_cosine: updates between two moves.", 1)
    flags.DEFINE_float("lowest_rate", 0.0, "stepped_cosine: where it ends.", 0.0)
    flags.DEFINE_integer(
        "cosine_from", 0, "stepped_cosine: update at which the cosine begins; timm: 0.", 0
    )
    flags.DEFINE_integer("warm_up", 0, "Updates in front, from --warm_up_rate in a line.", 0)
    flags.DEFINE_float("warm_up_rate", 0.0, "Where the warm-up begins.", 0.0)


def controller() -> schedules.Controller:
    """What the flags say.

    Raises:
        ValueError: no boundaries for a schedule that needs them, or such as `schedules` refuses.
    """
    if FLAGS.schedule == "steps" and not FLAGS.boundaries:
        raise ValueError("--schedule=steps needs --boundaries, the steps at which the rate falls.")
    if FLAGS.schedule == "stepped_cosine":
        return schedules.Controller(
            schedules.stepped_cosine(
                FLAGS.rate,
                FLAGS.steps,
                FLAGS.rate_every,
                lowest=FLAGS.lowest_rate,
                warm_up=FLAGS.warm_up,
                start=FLAGS.warm_up_rate,
                begin=FLAGS.cosine_from,
            )
        )
    schedule = {
        "constant": lambda: schedules.constant(FLAGS.rate),
        "plateau": lambda: schedules.constant(FLAGS.rate),
        "steps": lambda: schedules.piecewise(FLAGS.rate, run.integers("boundaries")),
        "cosine": lambda: schedules.cosine(FLAGS.rate, FLAGS.steps),
    }[FLAGS.schedule]()
    if FLAGS.warm_up:
        schedule = schedules.warm_up(schedule, FLAGS.warm_up, FLAGS.warm_up_rate)
    plateau = schedules.Plateau(FLAGS.patience) if FLAGS.schedule == "plateau" else None
    return schedules.Controller(schedule, plateau=plateau)


def agreed() -> dict:
    """What a checkpoint of these flags must agree on with the command that resumes from it; None stands for what
    checkpoints of before a flag do not have."""
    stepped = FLAGS.schedule == "stepped_cosine"
    found = {f"--{name}": getattr(FLAGS, name) for name in BINDING}
    if stepped or FLAGS.schedule == "cosine":  # the whole curve depends on where it ends
        found["--steps"] = FLAGS.steps
    for name in ("rate_every", "lowest_rate"):
        found[f"--{name}"] = getattr(FLAGS, name) if stepped else None
    found["--cosine_from"] = FLAGS.cosine_from or None
    return found
