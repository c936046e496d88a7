"""Writes tests/golden/tensorflow_2_20_ops.txt: the operations that TF Serving's newest image knows, a line each.

    make .venv-serving/.installed && .venv-serving/bin/python tools/tensorflow_ops.py

TensorFlow's list of what it has registered, of the version that requirements/serving.txt names.
"""

import json
import pathlib
import sys

import tensorflow as tf
from tensorflow.core.framework import op_def_pb2
from tensorflow.python.client import pywrap_tf_session

OUTPUT = pathlib.Path(__file__).parents[1] / "tests/golden/tensorflow_2_20_ops.txt"


def main():
    if not tf.__version__.startswith("2.20."):
        print(
            f"TensorFlow 2.20 is listed; this is {tf.__version__}: see the top of this file.",
            file=sys.stderr,
        )
        sys.exit(2)
    listed = pywrap_tf_session.TF_GetBuffer(pywrap_tf_session.TF_GetAllOpList())
    names = sorted(op.name for op in op_def_pb2.OpList.FromString(listed).op)
    OUTPUT.write_text("".join(f"{name}\n" for name in names), "utf-8")
    print(json.dumps({"file": OUTPUT.name, "tensorflow": tf.__version__, "operations": len(names)}))


if __name__ == "__main__":
    main()
