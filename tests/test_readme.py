"""The tables of the pages are what the graphs and the committed runs say, and their links lead somewhere."""

import json
import re

import pages
import pytest

import keras_resnet
from keras_resnet import analysis
from tools import house, readme_tables, run_tables

ROOT = pages.ROOT
QUICK = ["ResNet18", "ResNet50D", "ResNet20", "PlainNet56"]
PLACES = {
    "results": ["README.md", "docs/reproduce.md"],
    "table1": ["docs/reproduce.md"],
    "table3": ["docs/reproduce.md"],
    "ablations": ["docs/reproduce.md"],
    "figure7": ["docs/reproduce.md"],
    "networks": ["docs/networks.md"],
    "published": ["docs/weights.md"],
    "imagenet": ["docs/imagenet.md"],
    "presets": ["docs/imagenet.md"],
    "cards": ["docs/imagenet.md"],
    "trajectories": ["docs/imagenet.md"],
    "transfer": ["docs/transfer.md"],
    "language": ["docs/language.md"],
    "speech": ["docs/speech.md"],
    "detection": ["docs/detection.md"],
    "text": ["docs/text.md"],
    "segmentation": ["docs/segmentation.md"],
    "applications": ["docs/applications.md"],
    "depths": ["docs/applications.md"],
    "serving": ["docs/serve.md"],
    "int8": ["docs/serve.md"],
    "int8_families": ["docs/serve.md"],
    "speed_summary": ["README.md"],
    "fastest": ["docs/serve.md"],
    "speed": ["docs/speed.md"],
    "profile": ["docs/speed.md"],
    "attempts": ["docs/speed.md"],
    "input": ["docs/speed.md"],
    "inference": ["docs/speed.md"],
    "answers": ["docs/speed.md"],
    "campaign": ["docs/reliability.md"],
    "differences": ["savedmodels/README.md"],
}  # of each table the pages that have it


def test_every_table_is_where_it_belongs():
    assert PLACES.keys() == readme_tables.TABLES.keys()
    for table, places in PLACES.items():
        found = [page for page in pages.PAGES if f"<!-- {table} -->" in page.read_text("utf-8")]
        assert [pages.name(page) for page in found] == places


@pytest.mark.parametrize("place", sorted({place for places in PLACES.values() for place in places}))
def test_tables_are_what_was_measured(place, monkeypatch):
    """Else: make readme."""
    monkeypatch.delitem(readme_tables.TABLES, "networks")  # see below
    text = (ROOT / place).read_text("utf-8")
    assert readme_tables.update(text, readme_tables.tables_of(ROOT / place)) == text


def network_table():
    text = (ROOT / "docs/networks.md").read_text("utf-8")
    return re.search(r"<!-- networks -->\n(.*?)\n?<!-- /networks -->", text, re.DOTALL)[1]


def test_network_table_names_every_network_and_some_rows_are_the_graphs_own():
    lines = network_table().splitlines()
    assert [line.split()[1] for line in lines[2:]] == keras_resnet.list_models()
    for expected in analysis.format_table(analysis.summary_table(names=QUICK)).splitlines():
        assert expected in lines


@pytest.mark.slow
def test_network_table_is_the_graphs_own():
    assert network_table() == readme_tables.networks()


@pytest.mark.parametrize("page", [*map(pages.name, pages.PAGES), "CONTRIBUTING.md"])
def test_links_lead_to_files_that_are_there(page):
    path = ROOT / page
    text = re.sub(r"```.*?```", "", path.read_text("utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        assert link.startswith(("http", "mailto:")) or (path.parent / link).exists(), link


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/house.md"])
def test_the_house_is_drawn_from_its_imports(page):
    """Else: make readme."""
    text = (ROOT / page).read_text("utf-8")
    assert house.drawn(text) == text


def test_the_picture_of_the_house_is_drawn_from_its_docstrings():
    """Else: make readme."""
    assert house.picture() == (ROOT / "docs/house.svg").read_text("utf-8")


def test_no_table_speaks_of_what_was_wished_for():
    for page in pages.PAGES:
        assert not re.search(r"^\|.*(asked for|\(missed\))", page.read_text("utf-8"), re.MULTILINE)


def test_links_of_a_table_lead_from_its_page():
    [transfer] = readme_tables.tables_of(ROOT / "docs/transfer.md").values()
    assert "](../recipes/results/" in transfer and "](recipes" not in transfer
    assert "](recipes/results/" in readme_tables.tables_of(ROOT / "README.md")["results"]


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


def test_ablations_are_beside_the_base(tmp_path, monkeypatch):
    """The worst of them behind, with what was changed alone; speed of those that had the machine."""
    monkeypatch.setattr(run_tables, "ROOT", tmp_path)
    for name, flags, right in [
        ("base", "", 0.5),
        ("other", "--nesterov", 0.6),
        ("muon", "", 0.625),
    ]:
        folder = tmp_path / name
        folder.mkdir()
        optimizer = "muon" if name == "muon" else "sgd"
        text = f"--optimizer={optimizer}\n--workdir={name}\n{flags or '--nonesterov'}\n"
        (folder / "flags.txt").write_text(text, "utf-8")
        (folder / "final.json").write_text("{}", "utf-8")
        (folder / "versions.txt").write_text("backend jax\nmachine arm64, 4 CPU cores\n", "utf-8")
        rows = [{"holdout_accuracy": r, "images_per_second": 99.6} for r in (0.25, right)]
        rows.append({"step": 2, "test_accuracy": 0.75})
        (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    _, _, *rows = run_tables.ablations(tmp_path).splitlines()
    assert rows == [
        "| nothing | 50.00 |  | 100, 100 | jax, arm64, 4 CPU cores | [base](base) |",
        "| `--optimizer=muon` | 62.50 | +12.50 | 100, 100 | jax, arm64, 4 CPU cores | [muon](muon) |",
        "| `--nesterov` | 60.00 | +10.00 |  | jax, arm64, 4 CPU cores | [other](other) |",
    ]


def test_update_wants_each_marker_once():
    assert (
        readme_tables.update("<!-- t -->\nold\n<!-- /t -->", {"t": "new"})
        == "<!-- t -->\nnew\n<!-- /t -->"
    )
    with pytest.raises(ValueError, match="it has 0"):
        readme_tables.update("nothing", {"t": "new"})


def test_what_runs_left_is_small():
    """Results and the pages' pictures are in every clone: at most 200 kB each."""
    folders = [ROOT / folder for folder in ("recipes/results", "benchmarks/results", "docs/images")]
    files = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
    assert len(files) > 50
    assert {str(file): file.stat().st_size for file in files if file.stat().st_size > 200_000} == {}
