"""A trained network from --model and --weights, and the view that it gets of pictures."""

import zipfile
from collections.abc import Sequence

import keras
import numpy as np
from absl import flags

from keras_resnet import applications, evaluation, weights
from keras_resnet.commands import trusting
from keras_resnet.commands.progress import say
from keras_resnet.data import views
from keras_resnet.networks import models
from keras_resnet.networks.layers import Layers
from keras_resnet.support import labels
from keras_resnet.weights import published

FLAGS = flags.FLAGS


def define() -> None:
    """Defines --model and --trust_config; --weights is the command's."""
    flags.DEFINE_string(
        "model",
        None,
        "Any name of keras_resnet.list_models(); default: what the file says, or its tensors show.",
    )
    trusting.define_config()


def define_view(smallest: int = 1) -> None:
    """Defines --size, --resize and --interpolation."""
    flags.DEFINE_integer(
        "size",
        None,
        "Side of the crop, pixels; default: what the network was made for.",
        lower_bound=smallest,
    )
    flags.DEFINE_integer(
        "resize",
        None,
        "Shorter side before the crop, pixels; default: what the weights say, else size / 0.875 (256 for 224), or "
        "the size itself up to 64.",
        lower_bound=smallest,
    )
    define_interpolation()


def define_interpolation(default: str | None = None) -> None:
    """Defines --interpolation; with None it is what the contract of the weights says."""
    known = "" if default else "; default: as the weights were evaluated, else bilinear"
    flags.DEFINE_enum(
        "interpolation", default, list(views.KERNELS), f"How evaluation resizes{known}."
    )


def network(
    path: str, *, trunk: bool = False, size: int | None = None
) -> tuple[keras.Model, weights.Found]:
    """The network of a file of weights: of --model, or of what the file says.

    Args:
        path: of the file: what a builder's `weights=` reads.
        trunk: whether a file without a classifier will do; it gets a random one, of one class.
        size: pixels, side of its pictures, where the file holds weights alone; default: what they were evaluated
            at, or the network's.

    Returns:
        The network, ending in its classifier, and what was found in the file.

    Raises:
        ValueError: --model contradicts the file, or is missing and the tensors do not show it; there is no classifier;
            or the network is not in the table and --trust_config is not given.
    """
    name = FLAGS.model
    if name:
        applications.get(name)  # an unknown name before all else
    elif published.is_name(path):
        raise ValueError(
            f"--model is missing: {path} are published weights of several networks; name one."
        )
    found = weights.find(path, name)
    if found.peer == "keras" and zipfile.is_zipfile(found.path):  # a .keras file by any name
        try:
            model = weights.load(path, trust_config=FLAGS.trust_config)
        except weights.UnknownNetwork as error:
            raise ValueError(
                f"{error.problem}: pass --trust_config to build what the file's config says, if you know where "
                "it comes from."
            ) from None
        evaluation.check(model)
        known = {known.lower(): known for known in applications.list_models()}
        if name and known.get(model.name, name) != name:
            raise ValueError(
                f"--model={name} contradicts --weights={path}, which holds {known[model.name]}: "
                "leave --model out."
            )
        return model, found
    name = name or (found.contract.network if found.certain else None) or recognised(found)
    constructor = applications.get(name)
    if found.classes is not None:
        side = size or found.contract.size
        shape = (side, side, found.channels) if side else None
        return constructor(weights=path, classes=found.classes, input_shape=shape), found
    if not trunk:
        raise ValueError(f"--weights={path} has no classifier: use a file of the whole network.")
    model = constructor(classes=1)
    for layer in constructor(include_top=False, weights=path).layers:
        if layer.weights:
            model.get_layer(layer.name).set_weights(layer.get_weights())
    return model, found


def recognised(found: weights.Found) -> str:
    """The network of a file of weights that names none, by its tensors' names and shapes.

    Raises:
        ValueError: it is none of the table's, or several that are alike in these.
    """

    def build(name):
        shape = (models.NETWORKS[name].size,) * 2 + (found.channels,)
        return applications.get(name)(
            include_top=found.classes is not None,
            classes=found.classes or 1,
            input_shape=shape,
            layers=Layers(kernel_initializer=keras.initializers.Zeros),  # nobody runs it
        )

    names = weights.recognise.networks(found, build)
    if len(names) == 1:
        say(f"{found.name} has the tensors of {names[0]}; --model would say otherwise.")
        return names[0]
    why = (
        f"fits {', '.join(names[:-1])} and {names[-1]} alike; say which"
        if names
        else "holds the weights of no network in the table"
    )
    raise ValueError(f"--model is missing: {found.path} {why}.")


def class_names(classes: int, contract: weights.Contract) -> Sequence[str]:
    """Names of a network's classes: what the weights carry, or ImageNet's where they are as many, or numbers."""
    if len(contract.class_names) == classes:
        return contract.class_names
    readable = list(labels.imagenet_classes().values())
    return readable if len(readable) == classes else [str(i) for i in range(classes)]


def view_of(model: keras.Model, contract: weights.Contract) -> tuple[int, int, str]:
    """What `views.center` takes: pixels of the crop's side, and of the shorter side that it is cut from, and how that
    is resized: as --size, --resize and --interpolation ask, else as the weights were evaluated, else as the network
    was built, 256 for 224.

    Raises:
        ValueError: the crop does not fit.
    """
    size = FLAGS.size or contract.size or model.input_shape[1] or 224
    known = contract.resize if size == contract.size else None
    resize = FLAGS.resize or known or views.resize_for(size)
    if size > resize:
        raise ValueError(
            f"--size={size} does not fit in a picture whose shorter side is --resize={resize}."
        )
    return size, resize, FLAGS.interpolation or contract.interpolation


def probabilities(model: keras.Model, pictures: np.ndarray) -> np.ndarray:
    """What a classifier says of pictures [N,H,W,C] in 0..255, float32 [N,K]; it ends in softmax or logits."""
    scores = np.concatenate(
        [model.predict_on_batch(pictures[i : i + 32]) for i in range(0, len(pictures), 32)]
    )
    if not np.allclose(scores.sum(-1), 1, atol=1e-2):  # logits
        scores = keras.ops.convert_to_numpy(keras.ops.softmax(scores))
    return scores.astype(np.float32)
