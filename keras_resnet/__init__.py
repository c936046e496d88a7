"""Deep residual networks (He et al., 2015) for Keras 3: build them by name, train them by one command.

    import keras_resnet

    model = keras_resnet.ResNet50(classes=10)

Everything is imported when first touched: networks need Keras alone, on any backend; `data.feeds` and
`serving` need TensorFlow. What TensorFlow's own log says of the machine, then and later, is not shown;
TF_CPP_MIN_LOG_LEVEL=0 shows what is later.
"""

import contextlib
import importlib
import os
import sys

import keras_resnet_he

__version__ = "0.1.0"

_problem = keras_resnet_he.problem()
if _problem:
    raise ImportError(_problem)

from keras_resnet.support import lazy, old_names, quiet  # noqa: E402

old_names.install()
_parts, _names = lazy.attach(
    __name__,
    analysis="summary_table",
    applications="list_models",
    support="decode_predictions",
    networks="Layers Preprocessing feature_extractor resnet",
    weights="load",
)


def __getattr__(name):
    try:
        with _quiet():
            return _imported(name)
    except (ImportError, ValueError) as error:  # what Keras raises for a backend that is not there
        sentence = None if "keras" in sys.modules else keras_resnet_he.backend_problem()
        if sentence is None:
            raise
        raise ImportError(sentence) from error


def _quiet():
    """Around the first import of Keras and its backend."""
    if "keras" in sys.modules:
        return contextlib.nullcontext()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return quiet.start()


def _imported(name):
    if name == "__all__":
        return sorted({*_names(), *_networks()})
    try:
        return _parts(name)
    except AttributeError as error:
        if name.startswith("_"):
            raise
        if name in _networks():
            return getattr(importlib.import_module(f"{__name__}.applications"), name)
        hint = importlib.import_module(f"{__name__}.applications").nearest(name)
        raise AttributeError(f"{error}{hint and f': {hint.strip()}'}") from None


def __dir__():
    return sorted({*globals(), *__getattr__("__all__")})


def _networks():
    return importlib.import_module(f"{__name__}.applications").list_models()
