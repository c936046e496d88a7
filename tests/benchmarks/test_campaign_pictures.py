"""The campaign's mutated pictures, in short."""

import frame
import mutants
import pictures
import pytest
from dying import dies


def test_mutated_pictures_are_decoded_or_refused():
    """The campaign's own code; in full: benchmarks/campaign/pictures.py."""
    found = pictures.run(decode_mutants=2500, export_mutants=0, seed=1)
    assert (found["tried"], found["failed"]) == (2500, 0), found["failures"]
    assert len(found["kinds"]) == 5
    every = mutants.Mutants(1)
    assert every[5] == mutants.Mutants(1)[5] != mutants.Mutants(2)[5]


def test_a_worker_that_dies_is_a_failure_and_the_rest_is_tried():
    tally = frame.Tally()
    pictures._try(dies, 2100, (1500,), tally, {})
    found = tally.result()
    assert (found["tried"], found["failed"]) == (2100, 1)
    assert "mutants 1500 to 1500: the process ended with -9" in found["failures"][0]


@pytest.mark.slow
def test_an_export_agrees_with_pillow_on_mutated_pictures():
    found = pictures.run(decode_mutants=0, export_mutants=2000, seed=1)
    assert (found["tried"], found["failed"]) == (2000, 0), found["failures"]
    read = {kind: count for kind, count in found["differences"].items() if "only" in kind}
    read.pop("WebP of frames: only Pillow reads it")
    assert sum(read.values()) < 20
