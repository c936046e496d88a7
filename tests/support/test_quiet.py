"""Nothing is on the screen but what somebody has to say: TensorFlow's lines about the machine are not."""

import os
import subprocess
import sys

import pytest
import serving_kit

from keras_resnet.support import quiet

NOISE = (
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n"
    "I0000 00:00:1795738992.397380   13886 cudart_stub.cc:31] Could not find cuda drivers\n"
    "E0000 00:00:1795739072.781885   13886 cuda_platform.cc:52] failed call to cuInit\n"
    "2026-01-31 12:00:00.000000: I tensorflow/core/util/port.cc:153] oneDNN custom operations are on.\n"
    "To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow\n"
)


def test_lines_of_tensorflows_log_are_held_back_and_others_are_not(capfd):
    with quiet.start():
        os.write(2, NOISE.encode())
        print("A warning of somebody else's.", file=sys.stderr)
    assert capfd.readouterr().err == "A warning of somebody else's.\n"


def test_an_error_shows_all(capfd):
    with pytest.raises(RuntimeError), quiet.start():
        os.write(2, NOISE.encode())
        raise RuntimeError
    assert capfd.readouterr().err == NOISE


def test_without_a_screen():
    program = "import os; os.close(2)\nfrom keras_resnet.support import quiet\nwith quiet.start(): print(1)"
    ended = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True)
    assert ended.stdout == b"1\n"


def test_the_readmes_first_lines_write_nothing():
    pytest.importorskip("tensorflow")
    program = (
        "import keras_resnet\nmodel = keras_resnet.ResNet20(classes=10)\n"
        "import numpy as np\nmodel.predict(np.zeros((1, 32, 32, 3)), verbose=0)\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True
    )
    assert (ended.stdout, ended.stderr) == ("", "")


def test_the_grpc_client_writes_its_own_sentences_alone(tmp_path):
    pytest.importorskip("tensorflow_serving")
    (tmp_path / "a.png").write_bytes(serving_kit.png(0))
    done = serving_kit.command("--server=grpc://127.0.0.1:9", "--retries=0", tmp_path / "a.png")
    assert done.returncode == 3
    [line] = done.stderr.splitlines()
    assert line.startswith("client.py: grpc://127.0.0.1:9 was not reached in 1 tries: ")
