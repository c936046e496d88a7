"""docs/ builds without a warning, shows what it should, and fetches nothing."""

import html.parser
import os
import re
import subprocess
import sys

import pages
import pytest

import keras_resnet


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("mkdocs", reason="not installed; the extra `docs` brings it")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(folder)]
    ended = subprocess.run(
        command, cwd=pages.ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "HTTPS_PROXY": "http://127.0.0.1:9"},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return folder


class Resources(html.parser.HTMLParser):
    """Addresses that a browser fetches by itself, and those that it follows on a click."""

    def __init__(self):
        super().__init__()
        self.fetched, self.links = set(), set()

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if "src" in given:
            self.fetched.add(given["src"])
        if "href" in given:
            (self.links if tag == "a" else self.fetched).add(given["href"])


def test_pages_fetch_nothing_and_their_links_lead_somewhere(site):
    for page in sorted(site.rglob("*.html")):
        if page.name == "404.html":
            continue
        found = Resources()
        found.feed(page.read_text("utf-8"))
        for address in found.fetched | found.links:
            if re.match(r"(https?|mailto|data):", address):
                assert address in found.links, address
                continue
            path = address.partition("#")[0].partition("?")[0]
            assert (page.parent / path).exists(), (page, address)


def test_there_is_a_page_for_every_page_and_every_room(site):
    for page in (pages.ROOT / "docs").rglob("*.md"):
        assert (site / page.relative_to(pages.ROOT / "docs").with_suffix(".html")).is_file()
    rooms = {path.parent.name for path in (pages.ROOT / "keras_resnet").glob("*/__init__.py")}
    rooms |= {"analysis", "applications"}
    for room in rooms:
        assert f"keras_resnet.{room}." in (site / f"api/{room}.html").read_text("utf-8"), room


def test_the_api_shows_signatures_shapes_and_what_is_raised(site):
    text = (site / "api/weights.html").read_text("utf-8")
    assert 'id="keras_resnet.weights.native.load"' in text and "trust_config" in text
    network = (site / "api/applications.html").read_text("utf-8")
    assert 'id="keras_resnet.applications.ResNet50"' in network
    assert "classifier_activation" in network and "Raises" in network


def test_logs_and_scripts_that_pages_link_to_are_within(site):
    runs = site / "repository/recipes/results/laptop"
    assert "metrics.jsonl" in (runs / "index.html").read_text("utf-8")
    assert (runs / "metrics.jsonl").read_bytes() == (
        pages.ROOT / "recipes/results/laptop/metrics.jsonl"
    ).read_bytes()


def test_every_network_is_in_the_table(site):
    text = (site / "networks.html").read_text("utf-8")
    for name in keras_resnet.list_models():
        assert f"<td>{name}</td>" in text
