"""Executes a notebook and keeps its outputs, without the machine's log lines and times.

python tools/notebook.py notebooks/quickstart.ipynb
"""

import json
import os
import pathlib
import sys

import nbformat
from nbclient import NotebookClient

from keras_resnet.support import files


def execute(path) -> nbformat.NotebookNode:
    """The notebook with new outputs, run in its folder; raises what a cell raises."""
    path = pathlib.Path(path)
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(path.parent)}}
    NotebookClient(notebook, timeout=600, resources=resources, record_timing=False).execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    notebook.metadata.pop("language_info", None)
    return notebook


if __name__ == "__main__":
    if len(sys.argv) != 2 or not os.path.isfile(sys.argv[1]):
        print("Usage: python tools/notebook.py notebooks/quickstart.ipynb", file=sys.stderr)
        sys.exit(2)
    executed = execute(sys.argv[1])
    files.write(sys.argv[1], nbformat.writes(executed) + "\n")
    print(json.dumps({"file": sys.argv[1], "cells": len(executed.cells)}))
