"""Flags with which a user trusts a file: --allow_file_operations of a SavedModel, --trust_config of a .keras file."""

from absl import flags

from keras_resnet.serving import file_operations

# For `start.run`.
REMEDIES = {
    file_operations.UntrustedModel: "if you trust it as you would a program, add --allow_file_operations."
}


def define() -> None:
    """Defines --allow_file_operations."""
    flags.DEFINE_bool(
        "allow_file_operations",
        False,
        "Load a SavedModel whose graph reads or writes files or calls other programs: it can then do so as you can.",
    )


def define_config() -> None:
    """Defines --trust_config."""
    flags.DEFINE_bool(
        "trust_config",
        False,
        "Build a .keras file's network as the file's config says, where it is not in keras_resnet's table: of "
        "Keras' own layers alone, never of code. For files whose origin you know.",
    )
