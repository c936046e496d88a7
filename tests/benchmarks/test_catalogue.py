"""`catalogue.py`: rows are measured once and kept; nothing of another machine is mixed in."""

import functools
import json
import statistics

import pytest
from benchmarked import benchmark

catalogue = functools.partial(benchmark, "catalogue.py")


def test_without_time_nothing_is_begun(tmp_path):
    ended = catalogue("--minutes=0", f"--out={tmp_path}/speeds.json")
    assert ended.returncode == 0, ended.stderr
    said = json.loads(ended.stdout)
    assert (said["rows"], said["measured"], said["skipped"]) == (0, 0, {})
    assert {"ResNet18 at 224", "ResNet18 at 288", "ResNet50D at 320"} < {*said["missing"]}
    assert said["missing"][0] == "ResNet18 at 224"  # the least work first
    assert not any(tmp_path.iterdir())


def test_another_machine_s_rows_are_refused(tmp_path):
    out = tmp_path / "speeds.json"
    out.write_text(json.dumps({"cpu": "another", "rows": {}}))
    ended = catalogue(f"--out={out}")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(
        f"catalogue.py: {out} was measured with cpu another, this would be with "
    )
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.slow
def test_a_row_is_measured_once(tmp_path):
    """About 40 s alone."""
    out = tmp_path / "speeds.json"
    flags = ("--networks=ResNet18", "--batch_size=2", f"--out={out}")
    ended = catalogue(*flags)
    assert ended.returncode == 0, ended.stderr
    said, first = json.loads(ended.stdout), json.loads(out.read_text())
    assert (said["rows"], said["measured"], said["skipped"]) == (2, 2, {})
    assert "ResNet18 at 224" not in said["missing"] and "ResNet34 at 224" in said["missing"]
    for row in first["rows"].values():
        assert (len(row["seconds"]), len(row["seconds_of_one"])) == (3, 9)
        assert row["pictures_per_second"] == 2 / statistics.median(row["seconds"])
        assert row["milliseconds_of_one"] == 1e3 * statistics.median(row["seconds_of_one"])
    kept = first["rows"].pop("ResNet18 at 288")
    out.write_text(json.dumps(first | {"rows": {"ResNet18 at 288": kept}}))
    ended = catalogue(*flags)
    assert json.loads(ended.stdout)["measured"] == 1, ended.stderr
    again = json.loads(out.read_text())
    assert [*again["rows"]] == ["ResNet18 at 224", "ResNet18 at 288"]
    assert again["rows"]["ResNet18 at 288"] == kept
