"""The benchmarks run, tell the truth about who took part, and print one line of JSON. No seconds are judged."""

import importlib.util
import json
import os
import sys

import pytest
from benchmarked import BENCHMARKS, benchmark

from keras_resnet.commands import timing


def training(*flags, **options):
    return benchmark("training.py", *flags, **options)


# A worker that takes as long as it is told, and writes down when it was visited.
WORKER = """
import json, sys
name, seconds, visits, log = sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
print(json.dumps({"ready": {"name": name}}), flush=True)
for line in sys.stdin:
    with open(log, "a") as file:
        print(name, int(line), file=file)
    if not visits:
        sys.exit("out of memory")
    visits -= 1
    print(json.dumps({"seconds": seconds * int(line)}), flush=True)
with open(log, "a") as file:
    print(name, "ended", file=file)
"""


def worker(log, name, seconds, visits=99):
    return [sys.executable, "-c", WORKER, name, str(seconds), str(visits), str(log)]


def test_contestants_are_visited_in_turn(tmp_path):
    log = tmp_path / "log"
    commands = {name: worker(log, name, s) for name, s in (("a", 1.0), ("b", 2.0), ("c", 4.0))}
    results = timing.interleave(commands, rounds=3, steps={"a": 5, "b": 6, "c": 7})
    assert log.read_text().split("\n")[:-1] == [
        *(
            "a 1",
            "a 5",
            "b 1",
            "b 6",
            "c 1",
            "c 7",
        ),  # the first step, and a round that does not count
        *("a 5", "b 6", "c 7", "c 7", "b 6", "a 5", "a 5", "b 6", "c 7"),
        *("a ended", "b ended", "c ended"),
    ]
    assert results["b"] == {
        "ready": {"name": "b"},
        "first_seconds": 2.0,
        "seconds": [2.0, 2.0, 2.0],
    }
    assert timing.ratio(results["c"]["seconds"], results["b"]["seconds"]) == 2.0


def test_other_measures_are_a_step_s_share_too():
    says = """
import json
print(json.dumps({"ready": {}}), flush=True)
for line in iter(input, ""):
    print(json.dumps({"seconds": 2 * int(line), "cpu": 3 * int(line), "more": 1}), flush=True)
"""
    results = timing.interleave(
        {"a": [sys.executable, "-c", says]}, rounds=2, steps={"a": 5}, measures=("seconds", "cpu")
    )
    assert results["a"] == {
        "ready": {},
        "first_seconds": 2,
        "seconds": [2.0, 2.0],
        "cpu": [3.0, 3.0],
    }


def test_ratio_is_of_times_that_were_neighbours():
    # Beside the second round's slow machine the medians alone would say 2.
    assert timing.ratio([3.0, 40.0, 4.0], [1.0, 10.0, 2.0]) == 3.0


def test_who_drops_out_is_skipped_with_the_reason(tmp_path):
    commands = {
        "stays": worker(tmp_path / "log", "stays", 1.0),
        "drops": worker(tmp_path / "log", "drops", 1.0, visits=3),
        "says": [sys.executable, "-c", """print('{"skip": "no such peer"}')"""],
        "dies": [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"],
    }
    results = timing.interleave(commands, rounds=3, steps=dict.fromkeys(commands, 1))
    assert len(results["stays"]["seconds"]) == 3
    assert results["drops"] == {"skipped": "ended with code 1: out of memory"}
    assert results["says"] == {"skipped": "no such peer"}
    assert results["dies"] == {"skipped": "ended by SIGKILL"}


@pytest.mark.parametrize(
    "name, flags, sentence",
    [
        ("training.py", ["--sections=imagnet"], "startup, depth, with commas; got imagnet."),
        ("training.py", ["--sections="], "--sections takes imagenet, cifar, attempts,"),
        ("training.py", ["--contestants=ours,mine"], "with commas; got mine."),
        ("training.py", ["--rounds=0"], "--rounds=0"),
        ("training.py", ["--imagenet_size=16"], "--imagenet_size=16"),
        ("training.py", ["--depth_model=ResNet9"], "--depth_model=ResNet9"),
        ("training.py", ["cifar"], "Arguments are flags; cannot read cifar."),
        ("step_profile.py", ["--precision=int4"], "--precision=int4"),
        ("inference.py", ["--sections=two"], "one, many, files, start, accuracy, with commas; got two."),
        ("inference.py", ["--contestants=ours,mine"], "with commas; got mine."),
        ("inference.py", ["--data=./nowhere"], "--data=./nowhere is not there."),
        ("inference.py", ["--steps_many=0"], "--steps_many=0"),
        ("serving.py", ["--data=./nowhere"], "--model_base_path is missing"),
        ("serving.py", ["--clients=0"], "--clients=0"),
        ("catalogue.py", ["--networks=ResNet9"], "no network with published weights is called so"),
        ("catalogue.py", ["--batch_size=0"], "--batch_size=0"),
    ],
)  # fmt: skip
def test_mistakes_are_one_sentence(name, flags, sentence):
    result = benchmark(name, *flags)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"{name}: ") and sentence in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.slow
def test_inference_with_an_absent_peer(tmp_path):
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('ONNX Runtime is not here.')")
    result = benchmark(
        "inference.py",
        "--sections=one,files,start",
        "--contestants=function,ours,onnxruntime",
        "--rounds=1",
        "--steps_one=1",
        before=tmp_path,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert len(result.stdout.splitlines()) == 1
    said = json.loads(result.stdout)
    results = said["one"]["results"]
    assert results["onnxruntime"] == {
        "skipped": "ValueError: ONNX Runtime is not installed (ONNX Runtime is not here.): "
        "pip install 'keras-resnet-he[onnx]'."
    }
    [theirs], [ours] = results["function"]["seconds"], results["ours"]["seconds"]
    assert results["ours"]["x"] == pytest.approx(theirs / ours)
    assert said["files"] == {"skipped": "--data is missing"}
    seconds = said["start"]["results"]
    assert min(seconds["ours"]["seconds"] + seconds["keras"]["seconds"]) > 0
    marks = {mark["what"]: mark for mark in said["one"]["marks"]}
    assert marks["ours, times as fast as openvino"]["met"] is None


@pytest.mark.slow
def test_small_run_with_an_absent_peer(tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('PyTorch is not here.')")
    result = training(
        "--sections=cifar",
        "--contestants=stock,ours,torch",
        "--rounds=2",
        "--cifar_steps=1",
        "--cifar_batch=2",
        before=tmp_path,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert len(result.stdout.splitlines()) == 1
    section = json.loads(result.stdout)["cifar"]
    stock, ours, torch = (section["results"][name] for name in ("stock", "ours", "torch"))
    assert torch == {"skipped": "ImportError: PyTorch is not here."}
    assert "torch skipped: ImportError: PyTorch is not here." in result.stderr
    for trained in (stock, ours):
        assert trained["ready"]["parameters"] == 269_722 and trained["ready"]["macs"] == 40_551_040
        assert len(trained["seconds"]) == 2 and min(trained["seconds"]) > 0
    faster = [a / b for a, b in zip(stock["seconds"], ours["seconds"], strict=True)]
    assert ours["x"] == pytest.approx(sum(faster) / 2) and stock["x"] == 1
    median = sum(ours["seconds"]) / 2
    assert ours["gflops"] == pytest.approx(3 * 2 * 40_551_040 * 2 / median / 1e9)
    peak = section["results"]["peak-float32"]["gflops"]
    assert ours["of_peak"] == pytest.approx(ours["gflops"] / peak)
    bound = section["results"]["bound-float32"]  # the same network's convolutions alone
    least = [a / b for a, b in zip(stock["seconds"], bound["seconds"], strict=True)]
    assert bound["x"] == pytest.approx(sum(least) / 2)
    assert bound["x"] < 20  # they are run, not optimised away
    shares = [a / b for a, b in zip(bound["cpu"], ours["cpu"], strict=True)]
    assert ours["of_bound_cpu"] == pytest.approx(sum(shares) / 2) and 0 < ours["of_bound"] < 1
    marks = {mark["what"]: mark for mark in section["marks"]}
    assert marks["ours, times as fast as stock"]["measured"] == ours["x"]
    assert marks["ours, times as fast as stock"]["met"] == (ours["x"] >= 1.25)
    assert marks["ours, times as fast as torch-compile"]["met"] is None


def test_torch_networks_are_the_same(run_python):
    if not importlib.util.find_spec("torch"):
        pytest.skip("PyTorch is not installed: pip install -r requirements/torch.txt")
    said = run_python(
        """
import torch, torch_resnet
for net, size in ((torch_resnet.resnet50(), 64), (torch_resnet.resnet20(), 32)):
    macs = [0]
    def count(module, inputs, output):
        if hasattr(module, "weight") and module.weight.dim() > 1:
            macs[0] += module.weight.numel() * output[0, 0].numel()
    for module in net.modules():
        module.register_forward_hook(count)
    net(torch.zeros(2, 3, size, size))
    print(torch_resnet.parameters(net), macs[0])
""",
        env={"PYTHONPATH": f"{BENCHMARKS.parent}{os.pathsep}{BENCHMARKS}"},
    )
    from keras_resnet import analysis, applications

    for line, (name, size) in zip(said.splitlines(), (("ResNet50", 64), ("ResNet20", 32)), strict=True):  # fmt: skip
        model = applications.get(name)(input_shape=(size, size, 3))
        assert line == f"{analysis.parameters(model)[0]} {analysis.macs(model)}"


@pytest.mark.slow
def test_all_sections_and_contestants():
    small = ["--rounds=1", "--imagenet_steps=1", "--imagenet_batch=2", "--imagenet_size=32",
             "--cifar_steps=1", "--cifar_batch=2", "--depth_model=ResNet20", "--depth_batch=2"]  # fmt: skip
    result = training("--sections=imagenet,cifar,startup,depth", *small)
    assert result.returncode == 0, result.stderr[-2000:]
    said = json.loads(result.stdout)
    for section in ("imagenet", "cifar"):
        for name, figures in said[section]["results"].items():
            if name.startswith("torch") and not importlib.util.find_spec("torch"):
                assert "torch" in figures["skipped"]
            elif name.startswith("bound"):  # a part of a network: only its time is compared
                assert min(figures["seconds"]) > 0 and "gflops" not in figures
            else:
                assert figures["gflops"] > 0, (name, figures)
    for figures in said["startup"]["results"].values():
        assert figures["build"][0] > 0
    for figures in said["depth"]["results"].values():
        assert figures["first_seconds"] > 0 and 1e8 < figures["peak_bytes"] < 1e10
