"""A file of the package imports only from lower floors, and the networks import no backend."""

import sys

import pytest

from tools.house import FLOORS, imports, modules, room

BY_COMMANDS_ALONE = ("training.runtime", "training.strategies")


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
    "module, path", [(m, p) for m, p in modules() if room(m) in ("networks", "applications", "analysis")],
    ids=lambda v: v if isinstance(v, str) else "",
)  # fmt: skip
def test_networks_import_keras_alone(module, path):
    outside = {name.partition(".")[0] for name in imports(path, top_level_only=True)}
    assert outside <= {"keras", "keras_resnet", *sys.stdlib_module_names}
    everywhere = {name.partition(".")[0] for name in imports(path)} - outside
    allowed = {
        "networks.layers": {"tensorflow"},
        "networks.ngrams": {"tensorflow"},
        "analysis": {"matplotlib"},
    }
    assert everywhere <= allowed.get(module, set())
