"""The notebooks run from top to bottom and show what they say."""

import pathlib
import re

import pytest

import keras_resnet

FOLDER = pathlib.Path(keras_resnet.__file__).parents[1] / "notebooks"
QUICKSTART, FINETUNE = FOLDER / "quickstart.ipynb", FOLDER / "finetune.ipynb"


def outputs(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def texts(notebook):
    return "\n".join(
        output.get("text") or output["data"].get("text/markdown", "")
        for output in outputs(notebook)
    )


def pictures(notebook):
    return sum("image/png" in output.get("data", {}) for output in outputs(notebook))


def accuracy(notebook):
    return float(re.search(r"test accuracy ([\d.]+)%", texts(notebook))[1])


def right(notebook):
    """Share of the test pictures, and the classes that the export names of four files, one of each class."""
    correct, examples = re.search(r"(\d+) of (\d+) test pictures right", texts(notebook)).groups()
    named = dict(re.findall(r"^(\w+)\.png +(\w+) +\d+%$", texts(notebook), re.MULTILINE))
    return int(correct) / int(examples), named


@pytest.mark.parametrize("path", [QUICKSTART, FINETUNE], ids=lambda path: path.stem)
def test_committed_outputs_are_there_and_clean(path):
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not any(output.get("name") == "stderr" for output in outputs(notebook))
    assert path.stat().st_size < 200_000
    if path == QUICKSTART:
        check_quickstart(notebook, 97)
    else:
        check_finetune(notebook)


def check_quickstart(notebook, least):
    assert "| ResNet101 | 44,549,160 |" in texts(notebook)
    assert pictures(notebook) == 3
    assert accuracy(notebook) > least


def check_finetune(notebook):
    share, named = right(notebook)
    assert share > 0.8  # of four classes
    assert len(named) == 4 and sum(file == name for file, name in named.items()) >= 3
    assert pictures(notebook) == 3


@pytest.mark.slow
def test_quickstart_runs():
    pytest.importorskip("nbclient")
    from tools.notebook import execute

    check_quickstart(execute(QUICKSTART), 95)


@pytest.mark.slow
def test_finetune_runs():
    pytest.importorskip("nbclient")
    from tools.notebook import execute

    check_finetune(execute(FINETUNE))
