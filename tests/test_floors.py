"""A file of the package imports only from lower floors, and the networks import no backend."""

import ast
import pathlib

import pytest

import keras_resnet

PACKAGE = pathlib.Path(keras_resnet.__file__).parent
FLOORS = {
    "": 6,
    "analysis": 5,
    "applications": 4,
    "explain": 4,
    "training": 3,
    "evaluation": 3,
    "weights": 3,
    "transfer": 3,
    "export": 4,
    "fold": 3,
    "pyramids": 3,
    "models": 2,
    "beam": 1,
    "blocks": 1,
    "flat": 1,
    "fronts": 1,
    "repeat": 1,
    "data.batch_augment": 1,
    "data.batches": 2,
    "data.folders": 1,
    "data.pipeline": 1,
    "data.resident": 1,
    "data.shards": 1,
    "data.sources": 1,
    "data.stream": 1,
    "checkpoints": 1,
    "locks": 1,
    "logs": 1,
    "strategies": 1,
    "plots": 1,
}  # everything else: 0
NETWORKS = ("layers", "blocks", "fronts", "repeat", "models", "applications", "analysis")


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        yield ".".join(p for p in parts if p != "__init__"), path


def floor(module):
    while module and module not in FLOORS:
        module = module.rpartition(".")[0]
    return FLOORS[module] if module else 0


def imports(path, top_level_only=False):
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize(
    "module, path", modules(), ids=lambda v: str(v) if isinstance(v, str) else ""
)
def test_imports_only_go_down(module, path):
    if module == "":
        return
    known = {name for name, _ in modules()}
    for name in imports(path):
        if not name.startswith("keras_resnet."):
            continue
        target = name.removeprefix("keras_resnet.")
        while target and target not in known:
            target = target.rpartition(".")[0]
        same_folder = target.partition(".")[0] == module.partition(".")[0]
        assert floor(target) < floor(module) or (floor(target) == floor(module) and same_folder), (
            module,
            target,
        )
        assert target not in ("runtime", "strategies"), (
            f"{module} imports {target}, which only recipes, benchmarks and tests may"
        )


@pytest.mark.parametrize("module", NETWORKS)
def test_networks_import_keras_alone(module):
    path = dict(modules())[module]
    outside = {name.partition(".")[0] for name in imports(path, top_level_only=True)}
    standard = "collections contextlib dataclasses difflib functools gc math re sys typing warnings"
    assert outside <= {"keras", "keras_resnet", *standard.split()}
    everywhere = {name.partition(".")[0] for name in imports(path)} - outside
    assert everywhere <= ({"tensorflow"} if module == "layers" else {"matplotlib", "keras_resnet"})
