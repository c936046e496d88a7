"""--allow_file_operations, of the commands that load a SavedModel."""

from absl import flags

from keras_resnet.serving import file_operations

# For `start.run`.
REMEDIES = {
    file_operations.UntrustedModel: "if you trust it as you would a program, add --allow_file_operations."
}


def define() -> None:
    """Defines the flag."""
    flags.DEFINE_bool(
        "allow_file_operations",
        False,
        "Load a SavedModel whose graph reads or writes files or calls other programs: it can then do so as you can.",
    )
