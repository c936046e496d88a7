"""An answer's time by kind of kernel adds up to the watched call, our SavedModel's and OpenVINO's."""

import json

import pytest
import watched
from benchmarked import benchmark


def test_kernels_of_both_runtimes_are_of_their_kind_and_others_are_named():
    kernels = {
        "convolution": ["_MklNativeFusedConv2D", "Convolution"],
        "add": ["AddV2", "_FusedAddRelu", "Eltwise"],
        "pool": ["MaxPool", "Mean", "Pooling"],
        "dense": ["_FusedMatMul", "FullyConnected", "SoftMax"],
        "layout": ["ConvertTruncation", "Cast", "PadV2", "Reorder"],
        "other": ["Frobnicate"],
        "waiting": [""],
    }
    seconds = {name: 1.0 for names in kernels.values() for name in names}
    found = watched.by_kind(seconds | {"Unused": 0.0})
    assert {kind: sorted(names) for kind, names in found.items()} == {
        kind: sorted(names) for kind, names in kernels.items()
    }


@pytest.mark.slow
def test_a_small_network_s_answers_are_watched_and_timed():
    flags = ["--model=ResNet20", "--size=32", "--rounds=2", "--steps=2"]
    result = benchmark("answer_profile.py", *flags, "--contestants=ours,openvino")
    assert result.returncode == 0, result.stderr[-2000:]
    results = json.loads(result.stdout)["results"]
    assert list(results) == ["ours", "openvino"]
    for found in results.values():
        assert list(found["kinds"]) == list(watched.KINDS)
        assert (
            found["kinds"]["convolution"] and found["kinds"]["pool"] and found["kinds"]["waiting"]
        )
        assert not any("Conv" in name for name in found["kinds"]["other"])
        assert len(found["seconds"]) == 2 and found["milliseconds"] > 0
    assert results["openvino"]["x"] == 1
