"""The README's tables are what the graphs and the committed runs say, and its code runs."""

import json
import pathlib
import re

import pytest

import keras_resnet
from keras_resnet import analysis
from tools import house, readme_tables

ROOT = pathlib.Path(keras_resnet.__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
QUICK = ["ResNet18", "ResNet50D", "ResNet20", "PlainNet56"]


def between(name):
    return re.search(rf"<!-- {name} -->\n(.*?)\n?<!-- /{name} -->", README, re.DOTALL)[1]


def test_network_table_names_every_network_and_some_rows_are_the_graphs_own():
    lines = between("networks").splitlines()
    assert [line.split()[1] for line in lines[2:]] == keras_resnet.list_models()
    for expected in analysis.format_table(analysis.summary_table(names=QUICK)).splitlines():
        assert expected in lines


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_links_lead_to_files_that_are_there(page):
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", (ROOT / page).read_text("utf-8"))
    for link in links:
        assert link.startswith(("http", "mailto:")) or (ROOT / link).exists(), link


def test_the_house_is_drawn_from_its_imports():
    """Else: make readme."""
    contributing = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    assert house.drawn(contributing) == contributing


@pytest.mark.slow
def test_network_table_is_the_graphs_own():
    assert between("networks") == readme_tables.networks()


def test_results_table_is_the_committed_runs_own():
    assert between("results") == readme_tables.results()


def test_speed_table_is_the_committed_benchmarks_own():
    assert between("speed") == readme_tables.speed()


def test_imagenet_table_is_the_committed_runs_own():
    assert between("imagenet") == readme_tables.imagenet()


def test_transfer_table_is_the_committed_runs_own():
    assert between("transfer") == readme_tables.transfer()


def test_input_table_is_the_committed_benchmarks_own():
    assert between("input") == readme_tables.input_pipeline()


def test_inference_table_is_the_committed_benchmarks_own():
    assert between("inference") == readme_tables.inference()


def test_serving_table_is_the_committed_benchmarks_own():
    assert between("serving") == readme_tables.serving()


def test_campaign_table_is_the_committed_campaigns_own():
    assert between("campaign") == readme_tables.campaign()


def test_differences_are_the_committed_campaigns_own():
    text = (ROOT / "savedmodels/README.md").read_text("utf-8")
    assert readme_tables.update(text, {"differences": readme_tables.differences()}) == text


def test_results_rows_are_means_over_seeds(tmp_path, monkeypatch):
    monkeypatch.setattr(readme_tables, "ROOT", tmp_path)
    runs = [("a", "--seed=0", 9125), ("b", "--seed=1", 9100), ("c", "--seed=0\n--noflip", 9000)]
    for name, flags, correct in runs:
        folder = tmp_path / "recipes/results" / name
        folder.mkdir(parents=True)
        final = {
            "test_correct": correct,
            "test_examples": 10000,
            "parameters": 269722,
            "steps": 15600,
        }
        (folder / "final.json").write_text(json.dumps(final), "utf-8")
        (folder / "flags.txt").write_text(f"--model=ResNet20\n--workdir={name}\n{flags}\n", "utf-8")
        (folder / "versions.txt").write_text("backend jax\nmachine x86_64, 2 CPU cores\n", "utf-8")
    _, _, *rows = readme_tables.results(tmp_path / "recipes/results").splitlines()
    assert len(rows) == 2
    mean = next(row for row in rows if "mean" in row)
    assert "| 8.88 (mean of 2 seeds, 8.75 to 9.00) | 8.75 | jax, x86_64, 2 CPU cores |" in mean
    assert "--flagfile=recipes/results/a/flags.txt --data=cifar10 --workdir=runs/a" in mean


def test_update_wants_each_marker_once():
    assert (
        readme_tables.update("<!-- t -->\nold\n<!-- /t -->", {"t": "new"})
        == "<!-- t -->\nnew\n<!-- /t -->"
    )
    with pytest.raises(ValueError, match="it has 0"):
        readme_tables.update("nothing", {"t": "new"})


def test_code_builds_a_network_for_sequences():
    code = next(
        b for b in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "blocks.basic" in b
    )
    scope = {}
    exec(code, scope)
    assert scope["model"].output_shape == (None, 10)
