"""A file of the package imports only from lower floors, and the networks import no backend."""

import ast
import pathlib
import sys

import pytest

import keras_resnet

PACKAGE = pathlib.Path(keras_resnet.__file__).parent
FLOORS = {
    "support": 0,
    "networks": 1,
    "data": 2,
    "weights": 2,
    "training": 2,
    "applications": 3,
    "evaluation": 3,
    "analysis": 4,
    "serving": 4,
    "commands": 5,
}  # a room, or a file in no room
BY_COMMANDS_ALONE = ("training.runtime", "training.strategies")


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        yield ".".join(p for p in parts if p != "__init__"), path


def imports(path, top_level_only=False):
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(module):
    return module.partition(".")[0]


def test_every_room_has_a_floor():
    assert {room(module) for module, _ in modules()} == {"", *FLOORS}


@pytest.mark.parametrize("module, path", modules(), ids=lambda v: v if isinstance(v, str) else "")
def test_imports_only_go_down(module, path):
    known = {name for name, _ in modules()}
    for name in imports(path):
        target = name.removeprefix("keras_resnet.")
        while target and target not in known:
            target = target.rpartition(".")[0]
        if not name.startswith("keras_resnet.") or room(target) == room(module):
            continue
        assert room(module) == "" or FLOORS[room(target)] < FLOORS[room(module)], (module, target)
        assert target not in BY_COMMANDS_ALONE or room(module) == "commands", (module, target)


@pytest.mark.parametrize(
    "module, path", [(m, p) for m, p in modules() if room(m) in ("networks", "applications")],
    ids=lambda v: v if isinstance(v, str) else "",
)  # fmt: skip
def test_networks_import_keras_alone(module, path):
    outside = {name.partition(".")[0] for name in imports(path, top_level_only=True)}
    assert outside <= {"keras", "keras_resnet", *sys.stdlib_module_names}
    everywhere = {name.partition(".")[0] for name in imports(path)} - outside
    assert everywhere <= ({"tensorflow"} if module == "networks.layers" else set())
