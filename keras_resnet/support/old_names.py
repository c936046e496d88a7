"""The modules of version 0.1 under the names that they had: `keras_resnet.layers` is `keras_resnet.networks.layers`."""

import importlib
import importlib.machinery
import sys

_PACKAGE = __name__.partition(".")[0]
MOVED = {
    "data.batch_augment": "data.augment.mixing",
    "data.batches": "data.feeds.mixed",
    "data.cifar": "data.sources.cifar",
    "data.folders": "data.sources.folders",
    "data.pipeline": "data.feeds.in_memory",
    "data.randaugment": "data.augment.randaugment",
    "data.reader": "data.feeds.reader",
    "data.records": "data.sources.tfrecord",
    "data.resident": "data.feeds.in_memory",
    "data.shards": "data.sources.shards",
    "data.splits": "data.dataset",
    "data.stream": "data.feeds.stream",
    "data.windows": "data.augment.windows",
    "beam": "serving.beam",
    "blocks": "networks.blocks",
    "checkpoints": "training.checkpoints",
    "explain": "evaluation.grad_cam",
    "export": "serving.export",
    "files": "support.files",
    "fold": "serving.fold",
    "fronts": "networks.fronts",
    "labels": "support.labels",
    "layers": "networks.layers",
    "logs": "training.logs",
    "models": "networks.models",
    "optimizers": "training.optimizers",
    "plots": "evaluation.plots",
    "progress": "commands.progress",
    "pyramids": "networks.pyramids",
    "quiet": "support.quiet",
    "repeat": "networks.repeat",
    "runtime": "training.runtime",
    "schedules": "training.schedules",
    "strategies": "training.strategies",
    "transfer": "training.transfer",
}  # `data.augment`, `data.sources`, `evaluation`, `serving` and `training` are packages with the same names in them.


class _Moved:  # a finder and loader; the classes of importlib.abc would double the time of `import keras_resnet`
    def find_spec(self, name, path=None, target=None):
        package, _, old = name.partition(".")
        if package == _PACKAGE and old in MOVED:
            return importlib.machinery.ModuleSpec(name, self)
        return None

    def create_module(self, spec):
        module = importlib.import_module(f"{_PACKAGE}.{MOVED[spec.name.partition('.')[2]]}")
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module):
        # The import system has given the module the spec of its old name: it gets that of its new name back.
        module.__spec__ = module.__spec__.loader_state


def install() -> None:
    """Makes the old names importable. They are looked up last, so that no other import takes longer."""
    if not any(isinstance(finder, _Moved) for finder in sys.meta_path):
        sys.meta_path.append(_Moved())
