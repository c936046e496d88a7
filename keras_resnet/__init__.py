"""Deep residual networks (He et al., 2015) for Keras 3: build them by name, train them by one command.

    import keras_resnet

    model = keras_resnet.ResNet50(classes=10)

Everything is imported when first touched: networks need Keras alone, on any backend; `data.pipeline` and
export need TensorFlow.
"""

import importlib
import sys

import keras_resnet_he

__version__ = "0.1.0"

_problem = keras_resnet_he.problem()
if _problem:
    raise ImportError(_problem)

_MODULES = (
    "analysis",
    "applications",
    "blocks",
    "checkpoints",
    "command_line",
    "data",
    "evaluation",
    "explain",
    "export",
    "files",
    "flat",
    "fold",
    "fronts",
    "label_files",
    "labels",
    "layers",
    "locks",
    "logs",
    "models",
    "optimizers",
    "plots",
    "progress",
    "pyramids",
    "quiet",
    "runtime",
    "saved_model_ops",
    "schedules",
    "serving",
    "sums",
    "training",
    "transfer",
    "weights",
)
_HOMES = {
    "Layers": "layers",
    "Preprocessing": "fronts",
    "decode_predictions": "labels",
    "feature_extractor": "pyramids",
    "list_models": "applications",
    "load": "weights",
    "resnet": "models",
    "summary_table": "analysis",
}


def __getattr__(name):
    try:
        return _imported(name)
    except (ImportError, ValueError) as error:  # what Keras raises for a backend that is not there
        sentence = None if "keras.src.backend" in sys.modules else keras_resnet_he.backend_problem()
        if sentence is None:
            raise
        raise ImportError(sentence) from error


def _imported(name):
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name == "__all__":
        return sorted({*_MODULES, *_HOMES, *_networks()})
    if name in _HOMES:
        value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    elif not name.startswith("_") and name in _networks():
        value = getattr(importlib.import_module(f"{__name__}.applications"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *__getattr__("__all__")})


def _networks():
    return importlib.import_module(f"{__name__}.applications").list_models()
