"""The notebook runs from top to bottom and shows what it says."""

import pathlib
import re

import pytest

import keras_resnet

ROOT = pathlib.Path(keras_resnet.__file__).parents[1]
NOTEBOOK = ROOT / "notebooks/quickstart.ipynb"


def texts(notebook):
    return "\n".join(
        output.get("text") or output["data"].get("text/markdown", "")
        for cell in notebook.cells
        for output in cell.get("outputs", [])
    )


def pictures(notebook):
    return sum(
        "image/png" in output.get("data", {})
        for cell in notebook.cells
        for output in cell.get("outputs", [])
    )


def accuracy(notebook):
    return float(re.search(r"test accuracy ([\d.]+)%", texts(notebook))[1])


def test_committed_outputs_are_there_and_clean():
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert "| ResNet101 | 44,549,160 |" in texts(notebook)
    assert pictures(notebook) == 3
    assert accuracy(notebook) > 97
    assert not any(
        output.get("name") == "stderr"
        for cell in notebook.cells
        for output in cell.get("outputs", [])
    )
    assert NOTEBOOK.stat().st_size < 200_000


@pytest.mark.slow
def test_quickstart_runs():
    pytest.importorskip("nbclient")
    from tools.notebook import execute

    notebook = execute(NOTEBOOK)
    assert "| ResNet101 | 44,549,160 |" in texts(notebook)
    assert pictures(notebook) == 3
    assert accuracy(notebook) > 95
