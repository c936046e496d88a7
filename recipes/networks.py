"""A trained network from --model and --weights, and how it is shown pictures."""

import zipfile

import common
from absl import flags

from keras_resnet import applications, evaluation, weights
from keras_resnet.data import views

FLAGS = flags.FLAGS
common.define_trust_config()


def network(path: str, name: str | None = None, *, trunk: bool = False, size: int | None = None):
    """The network of a file of weights.

    Args:
        path: of the file: what a builder's `weights=` reads.
        name: of `keras_resnet.list_models()`; None where the file says it.
        size: pixels, side of its pictures, where the file holds weights alone; default: what they were evaluated
            at, or the network's own.
        trunk: whether a file without a classifier will do; it gets a random one, of one class.

    Returns:
        The `keras.Model`, ending in its classifier, and the `weights.Found` of the file.

    Raises:
        ValueError: the name contradicts the file, is missing, there is no classifier, or the network is not in the
            table and --trust_config is not given.
    """
    if name:
        applications.get(name)  # an unknown name before all else
    found = weights.find(path, name)
    if found.peer == "keras" and zipfile.is_zipfile(found.path):  # a .keras file by any name
        model = weights.load(path, trust_config=FLAGS.trust_config)
        evaluation.check(model)
        known = {known.lower(): known for known in applications.list_models()}
        if name and known.get(model.name, name) != name:
            raise ValueError(
                f"--model={name} contradicts --weights={path}, which holds {known[model.name]}: "
                "leave --model out."
            )
        return model, found
    name = name or (found.contract.network if found.certain else None)
    if not name:
        raise ValueError(f"--model is missing: {path} holds weights alone; name their network.")
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


def view_of(
    model,
    contract,
    size: int | None = None,
    resize: int | None = None,
    interpolation: str | None = None,
) -> tuple[int, int, str]:
    """What `views.center` takes: pixels of the crop's side, and of the shorter side that it is cut from, and how that
    is resized: as asked, else as the weights were evaluated, else as the network was built, 256 for 224.

    Raises:
        ValueError: the crop does not fit.
    """
    size = size or contract.size or model.input_shape[1] or 224
    known = contract.resize if size == contract.size else None
    resize = resize or known or views.resize_for(size)
    if size > resize:
        raise ValueError(
            f"--size={size} does not fit in a picture whose shorter side is --resize={resize}."
        )
    return size, resize, interpolation or contract.interpolation
