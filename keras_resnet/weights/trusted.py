"""A network as its file's config says, if that names only layers and operations of Keras and of this package.

Keras' safe mode refuses code in a file, but not everything that a file may name: some layers and functions of Keras
read files. So all names in the config are checked first.
"""

import re

import keras

from keras_resnet.networks.layers import building, fuse
from keras_resnet.networks.log_mel import LogMel
from keras_resnet.networks.ngrams import Bag, NGrams
from keras_resnet.networks.repeat import Repeat
from keras_resnet.networks.resizing import ResizeLike
from keras_resnet.support import errors, keras_private
from keras_resnet.weights.bounds import brief

_DEEPEST = 100  # objects in objects; a network in a network takes four a level
_PLAIN = ("__keras_tensor__", "__numpy__", "__tensor__", "__slice__", "__ellipsis__")
_MODELS = (
    keras_private.FUNCTIONAL,
    ("keras", "Functional"),
    ("keras", "Sequential"),
    keras_private.SEQUENTIAL,
)
# Layers of Keras that run a function, another framework's module or a SavedModel, or read a vocabulary's file.
_REFUSED = (
    "Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "StringLookup", "IntegerLookup",
    "TextVectorization", "IndexLookup",
)  # fmt: skip
# Ours, by registered name: the modules that files say they are in, of which the last one is version 0.1's.
_OURS = {
    "keras_resnet>Repeat": (Repeat.__module__, "keras_resnet.repeat"),
    "keras_resnet>LogMel": (LogMel.__module__,),
    "keras_resnet>NGrams": (NGrams.__module__,),
    "keras_resnet>Bag": (Bag.__module__,),
    "keras_resnet>ResizeLike": (ResizeLike.__module__,),
}
_OPERATIONS = re.compile(
    f"{re.escape(keras_private.OPERATIONS)}(numpy|nn|math|image)"
)  # none of them takes a function or a path
_KINDS = {
    "keras.layers": keras.layers.Layer,
    "keras.initializers": keras.initializers.Initializer,
    "keras.regularizers": keras.regularizers.Regularizer,
    "keras.constraints": keras.constraints.Constraint,
}


def network(graph: dict) -> keras.Model:
    """The functional or sequential network that a graph describes, with random weights.

    Raises:
        ValueError: it names anything but layers and operations of Keras and ours; the rest of a sentence.
    """
    graph = _looked_through(graph)
    if (graph.get("module"), graph.get("class_name")) not in _MODELS:
        raise ValueError(
            f"it holds a {brief(graph.get('class_name'))}, not a functional or sequential network"
        )
    try:
        with building():
            model = keras.saving.deserialize_keras_object(graph, safe_mode=True)
            if not model.built:
                raise ValueError("it does not say the shape of its input")
            return fuse(model)
    except Exception as error:  # Keras raises anything from KeyError to a bare Exception here
        raise ValueError(errors.first_line(error)) from error


def _looked_through(value, depth=0):
    """A copy without the settings for training (compile_config).

    Raises:
        ValueError: it names what it may not, or is nested too deeply; the rest of a sentence.
    """
    if depth > _DEEPEST:
        raise ValueError(f"its config is nested more than {_DEEPEST} deep")
    if isinstance(value, list):
        return [_looked_through(v, depth + 1) for v in value]
    if not isinstance(value, dict):
        return value
    if "class_name" in value:
        _check(value)
    return {k: _looked_through(v, depth + 1) for k, v in value.items() if k != "compile_config"}


def _check(named):
    kind, module, registered = (
        named.get(key) for key in ("class_name", "module", "registered_name")
    )
    if kind in _PLAIN:
        return
    if not (isinstance(kind, str) and isinstance(module, str) and kind.isidentifier()):
        raise ValueError(f"it names {brief(kind)} of no module")
    if registered == f"keras_resnet>{kind}" and module in _OURS.get(registered, ()):
        return
    if registered not in (None, kind):
        raise ValueError(f"it names {brief(registered)}, which is no layer of Keras")
    known = (
        (module, kind) in _MODELS
        or (module == "keras" and kind == "DTypePolicy")
        or (module in _KINDS and kind not in _REFUSED and _is_a(module, kind))
        or _OPERATIONS.fullmatch(module)
        or (kind == "function" and _is_activation(named.get("config")))
    )
    if not known:
        raise ValueError(
            f"it names {brief(f'{module}.{kind}')}, which may run code or read files: load it by Keras itself if "
            "you wrote it"
        )


def _is_a(module, kind):
    found = getattr(getattr(keras, module.removeprefix("keras.")), kind, None)
    return isinstance(found, type) and issubclass(found, _KINDS[module])


def _is_activation(name):
    return (
        isinstance(name, str)
        and name.isidentifier()
        and callable(getattr(keras.activations, name, None))
        and (name not in ("get", "serialize", "deserialize"))
    )
