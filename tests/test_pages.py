"""Every block of code on a page is typed by this test, or says above it why none does."""

import ast
import contextlib
import json
import os
import re
import socket
import subprocess
import sys

import page_materials
import pages
import pytest
import references

from keras_resnet.weights import published

LANGUAGES = {"python", "sh"}
QUICK = ("docs/networks.md", "docs/install.md", "docs/api/index.md")  # the others take longer
TYPIST = pages.ROOT / "tests/typist.py"
# The files under published names hold random weights here, so their digests are others.
WITHOUT_DIGESTS = """
from keras_resnet.weights import published
published.PUBLISHED = {key: entry._replace(digest="") for key, entry in published.PUBLISHED.items()}
"""


def typed_blocks(page):
    """[(language, code)] of a page that are to be typed: those that the README has too are typed there."""
    first = pages.ROOT / "README.md"
    there = set() if page == first else {block.code for block in pages.blocks(first)}
    found = [block for block in pages.blocks(page) if block.why_not is None]
    return [(block.language, block.code) for block in found if block.code not in there]


def test_blocks_are_of_a_language_that_is_typed_and_reasons_are_sentences():
    for page in pages.PAGES:
        for block in pages.blocks(page):
            assert block.language in LANGUAGES, (page, block)
            assert block.why_not is None or len(block.why_not.split()) >= 4, (page, block)
        fences = page.read_text("utf-8").count("\n```")
        assert fences == 2 * len(pages.blocks(page)), page  # none is overlooked


def test_most_blocks_are_typed():
    found = [block for page in pages.PAGES for block in pages.blocks(page)]
    reasons = [block for block in found if block.why_not]
    assert len(found) >= 50 and len(reasons) < len(found) / 2


def types(page):
    slow = () if pages.name(page) in QUICK else (pytest.mark.slow,)
    return pytest.param(page, id=pages.name(page), marks=slow)


TYPED = [page for page in pages.PAGES if typed_blocks(page)]


@pytest.mark.parametrize("page", map(types, TYPED))
def test_page(page, tmp_path, monkeypatch):
    name = pages.name(page)
    if name == "docs/weights.md":
        references.torchvision()  # PyTorch, which writes two of its files
    for extra in {
        "docs/batch.md": ["apache_beam"],
        "docs/serve.md": ["tensorflow_serving", "tf2onnx"],
    }.get(name, []):
        pytest.importorskip(extra, reason="not installed; an extra brings it")
    with contextlib.chdir(tmp_path):
        for make in page_materials.NEEDS.get(name, []):
            make()
    monkeypatch.setenv("KERAS_RESNET_WEIGHTS", str(tmp_path / "published"))
    blocks = typed_blocks(page)
    if page_materials.NEEDS.get(name):
        blocks = [("python", WITHOUT_DIGESTS), *blocks]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    ended = subprocess.run(
        [sys.executable, str(TYPIST), str(port)], input=json.dumps(blocks), cwd=tmp_path, capture_output=True,
        text=True, check=False, env={**os.environ, "PYTHONPATH": str(pages.ROOT)},
    )  # fmt: skip
    assert ended.returncode == 0, (ended.stdout + ended.stderr)[-6000:]
    if name == "docs/serve.md":
        assert '"classes"' in ended.stdout  # curl's answer


def test_a_page_that_is_wrong_is_found(tmp_path):
    for block in (("python", "assert 1 + 1 == 3\n"), ("sh", "keras-resnet tarin cifar10\n")):
        ended = subprocess.run(
            [sys.executable, str(TYPIST), "1"], input=json.dumps([block]), cwd=tmp_path, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        assert ended.returncode != 0
        (tmp_path / "bin").rename(tmp_path / f"bin {block[0]}")


def test_extras_on_the_page_for_installing_are_those_of_setup_py():
    tree = ast.parse((pages.ROOT / "setup.py").read_text("utf-8"))
    [extras] = [
        node.value for node in ast.walk(tree) if getattr(node, "arg", None) == "extras_require"
    ]
    text = (pages.ROOT / "docs/install.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    assert sorted(rows) == sorted(key.value for key in extras.keys)


def test_names_on_the_page_for_migration_are_those_that_weights_are_exchanged_by():
    """Its table against the networks that conversions are tested on, and the published files' names."""
    text = (pages.ROOT / "docs/migrate.md").read_text("utf-8")
    rows = [
        line.replace("`", "").split("|")[1:-1]
        for line in text.splitlines()
        if line.startswith("| `")
    ]
    rows = [[cell.strip() for cell in row] for row in rows if len(row) == 4]
    import keras

    assert {row[0]: row[1] for row in rows if row[1]} == {
        name: name for name in dir(keras.applications) if name.startswith("ResNet")
    }
    assert {row[0]: row[2] for row in rows if row[2]} == references.TORCHVISION
    assert {row[0]: row[3] for row in rows if row[3]} == references.TIMM
    theirs = {
        network: entry.file
        for (network, name), entry in published.PUBLISHED.items()
        if name.startswith("torchvision/")
    }
    for network, file in theirs.items():
        assert file.startswith(references.TORCHVISION[network])
