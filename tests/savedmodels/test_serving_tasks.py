"""client.py and the page with exports that find boxes, masks, words, topics, or let a text go on."""

import base64
import importlib
import io
import json
import os
import shutil

import numpy as np
import pytest
import server_process
import serving_kit
import task_models
from PIL import Image

from tests.data.test_sounds import wav

pytest.importorskip("aiohttp", reason="not installed; the extra `test` brings it")
RATE, WORDS, LETTERS = 2000, ("null", "eins", "zwei"), "\n ehlo"
CONFIG = "\n".join(
    f'config {{ name: "{name}" base_path: "FOLDER/{name}" model_platform: "tensorflow" }}'
    for name in ("cells", "streets", "news", "digits", "bard")
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    import keras

    from keras_resnet.serving import hearing
    from keras_resnet.tasks import language, speech

    folder = tmp_path_factory.mktemp("tasks")
    task_models.boxes(folder / "cells")
    task_models.mask(folder / "streets")
    task_models.topics(folder / "news")
    keras.utils.set_random_seed(0)
    net = speech.network(3, RATE, depth=1, width=4, activation="softmax")
    hearing.save(net, folder / "digits", rate=RATE, class_names=WORDS)
    net = language.network(len(LETTERS), width=8, dilations=(1, 2))
    language.export(net, folder / "bard", LETTERS)
    (folder / "models.config").write_text(
        f"model_config_list {{\n{CONFIG}\n}}".replace("FOLDER", str(folder))
    )
    with server_process.running(f"--model_config_file={folder}/models.config") as server:
        yield server


@pytest.fixture(params=["rest", "grpc"])
def ask(request, server, tmp_path):
    """``ask(model, argument ...) -> (exit code, the rows, the last line, standard error)`` of client.py."""
    address = server.url if request.param == "rest" else f"grpc://127.0.0.1:{server.port}"

    def asked(model, *arguments):
        done = serving_kit.command(
            f"--server={address}", f"--model={model}", "--out=json", *arguments
        )
        lines = done.stdout.splitlines()
        return (
            done.returncode,
            [json.loads(line) for line in lines[:-1]],
            lines and lines[-1],
            done.stderr,
        )

    return asked


def test_boxes(ask, tmp_path):
    (tmp_path / "a.png").write_bytes(task_models.photo(60, 40))
    (tmp_path / "b.png").write_bytes(b"no picture")
    code, rows, last, _ = ask("cells", tmp_path / "a.png", tmp_path / "b.png")
    assert code == 1
    assert rows[0]["boxes"] == [[0, 0, 30, 40], [0, 0, 60, 20], [15, 10, 45, 30]]
    assert rows[0]["classes"] == ["RBC", "RBC", "WBC"]
    np.testing.assert_allclose(rows[0]["scores"], [0.9, 0.8, 0.7], rtol=1e-6)
    assert rows[1]["error"] == "unknown_format"
    figures = json.loads(last)
    assert (figures["pictures"], figures["classified"]) == (2, 1)


def test_masks(ask, tmp_path):
    """Of the pictures' sizes; two pictures of one name do not overwrite each other's."""
    for folder, size in {"x": (60, 40), "y": (16, 10)}.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.png").write_bytes(task_models.photo(*size))
    code, rows, _, error = ask(
        "streets", f"--masks={tmp_path}/masks", tmp_path / "x", tmp_path / "y"
    )
    assert code == 0, error
    assert rows[0]["shares"] == {"sky": 0.5, "road": 0.25, "tree": 0.25}
    masks = [np.asarray(Image.open(row["mask"])) for row in rows]
    assert [mask.shape for mask in masks] == [(40, 60), (10, 16)]
    assert (masks[0][:20] == 0).all() and (masks[0][20:, :30] == 1).all()
    assert (masks[0][20:, 30:] == 2).all()
    assert not list((tmp_path / "masks").glob("*.part"))


def test_topics(ask):
    code, rows, last, _ = ask(
        "news", "--texts", "A late goal wins the cup", "Tiefstände – überall", "  "
    )
    assert code == 1
    assert [row.get("classes") for row in rows] == [["Sports", "World"], ["World", "Sports"], None]
    assert rows[1]["text"] == "Tiefstände – überall" and rows[2]["error"] == "empty"
    assert json.loads(last)["texts"] == 3


def test_recordings(ask, server, tmp_path):
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, RATE).astype("float32")
    (tmp_path / "a.wav").write_bytes(wav(noise, rate=RATE))
    (tmp_path / "b.wav").write_bytes(wav(noise, rate=999))
    (tmp_path / "notes.txt").write_text("left alone")
    code, rows, last, _ = ask("digits", tmp_path)
    assert code == 1 and sorted(rows[0]["classes"]) == sorted(WORDS)
    assert sum(rows[0]["scores"]) == pytest.approx(1, abs=1e-5)
    assert rows[1]["error"] == "other_rate" and json.loads(last)["recordings"] == 2


def test_how_a_text_goes_on(ask):
    code, rows, last, error = ask("bard", "--prompt=hello", "--count=12", "--seed=3")
    assert code == 0, error
    assert len(rows[0]["text"]) == 12 and set(rows[0]["text"]) <= set(LETTERS)
    assert json.loads(last)["characters"] == 12
    assert ask("bard", "--prompt=hello", "--count=12", "--seed=3")[1] == rows
    code, _, _, error = ask("bard", "--prompt=ß")
    assert code == 2 and "has not learned" in error


@pytest.mark.parametrize(
    "model, arguments, sentence",
    [
        ("news", ["--texts"], "Name texts"),
        ("bard", ["--prompt=hello", "a.png"], "--prompt goes alone; cannot read a.png."),
        ("cells", ["--texts", "hello"], 'Serving signature name: "predict_text" not found'),
        ("news", ["--top=3", "--texts", "hello"], "--top=3 is too many: 2 were chosen"),
    ],
)
def test_mistakes(model, arguments, sentence, server):
    done = serving_kit.command(f"--server={server.url}", f"--model={model}", *arguments)
    assert done.returncode == 2 and sentence in done.stderr and done.stderr.count("\n") == 1


def test_recordings_and_pictures_are_sent_apart(server, tmp_path):
    for name in ("a.wav", "b.png"):
        (tmp_path / name).write_bytes(b"x")
    done = serving_kit.command(f"--server={server.url}", tmp_path / "a.wav", tmp_path / "b.png")
    assert done.returncode == 2 and "no model takes both" in done.stderr


def test_the_table(server, tmp_path):
    (tmp_path / "a.png").write_bytes(task_models.photo())
    for model, row in {
        "cells": "2 RBC  1 WBC",
        "streets": "50.0% sky   25.0% road   25.0% tree",
    }.items():
        done = serving_kit.command(f"--server={server.url}", f"--model={model}", tmp_path / "a.png")
        assert done.stdout.splitlines()[0].endswith(row)


# --- the page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_chromium = pytest.mark.skipif(
    not CHROMIUM and not os.environ.get("CI"),
    reason="chromium is not installed (Debian: apt-get install chromium)",
)


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="the extra `test` brings it")
    sync_api.expect.set_options(timeout=60_000)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser, server):
    """The page; it has written no error, of the policy or a script, in the end."""
    page, errors = browser.new_page(), []
    page.set_default_timeout(60_000)
    page.on(
        "console", lambda message: errors.append(message.text) if message.type == "error" else None
    )
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(server.url)
    page.wait_for_selector("body[data-ready]")
    yield page
    page.close()
    assert errors == []


def choose(page, model, title):
    page.select_option("#model", model)
    expect(page.locator("#title")).to_have_text(title)


def expect(place):
    return importlib.import_module("playwright.sync_api").expect(place)


def rows(page):
    lines = page.locator(".class").all()
    return [
        (line.locator(".label").text_content(), line.locator(".share").text_content())
        for line in lines
    ]


def pixels(page):
    url = page.evaluate("document.querySelector('canvas').toDataURL()")
    content = base64.b64decode(url.partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


def send(page, name, content, kind="image/png"):
    page.set_input_files("#file", {"name": name, "mimeType": kind, "buffer": content})


@needs_chromium
def test_boxes_on_the_page(page):
    choose(page, "cells", "What is where in this picture?")
    send(page, "blood.png", task_models.photo(60, 40))
    expect(page.locator("#status")).to_have_text("Found: 2 RBC, 1 WBC.")
    assert rows(page) == [("RBC", "2"), ("WBC", "1")]
    drawn = pixels(page)
    scale = drawn.shape[1] / 60
    assert drawn.shape[:2] == (round(40 * scale), round(60 * scale))
    edge = drawn[round(25 * scale), round(45 * scale)]  # of the WBC
    np.testing.assert_array_equal(edge, [0x33, 0x22, 0x88])
    assert "2 RBC" in page.locator("canvas").get_attribute("aria-label")


@needs_chromium
def test_a_mask_on_the_page(page):
    choose(page, "streets", "What is each part of this picture?")
    send(page, "street.png", task_models.photo(60, 40))
    expect(page.locator("#status")).to_have_text("Most of it: sky, 50%.")
    assert rows(page) == [("sky", "50%"), ("road", "25%"), ("tree", "25%")]
    page.locator("#opacity").fill("100")
    drawn = pixels(page)
    high, wide = drawn.shape[:2]
    np.testing.assert_array_equal(drawn[high // 4, wide // 2], [0xCC, 0x66, 0x77])
    np.testing.assert_array_equal(drawn[3 * high // 4, wide // 4], [0x33, 0x22, 0x88])
    np.testing.assert_array_equal(drawn[3 * high // 4, 3 * wide // 4], [0xDD, 0xCC, 0x77])
    choose(page, "cells", "What is where in this picture?")  # asked about the same picture
    expect(page.locator("#status")).to_have_text("Found: 2 RBC, 1 WBC.")


@needs_chromium
def test_a_recording_on_the_page(page):
    choose(page, "digits", "What was said?")
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, RATE).astype("float32")
    send(page, "a.wav", wav(noise, rate=RATE), "audio/wav")
    expect(page.locator("#status")).to_contain_text("Best class")
    assert sorted(name for name, _ in rows(page)) == sorted(WORDS)
    assert page.locator("audio").is_visible() and page.locator("canvas").is_hidden()
    send(page, "b.wav", wav(noise, rate=999), "audio/wav")
    expect(page.locator("#error")).to_contain_text("fewer than 1,000")
    assert page.locator("#result").is_hidden()


@needs_chromium
def test_a_text_on_the_page(page):
    choose(page, "news", "What is this text about?")
    assert page.locator("#drop").is_hidden()
    page.fill("#text", "A late goal wins the cup")
    page.get_by_role("button", name="Read it").click()
    expect(page.locator("#status")).to_have_text("Best class: Sports, 75%.")
    assert rows(page) == [("Sports", "75%"), ("World", "25%")]
    page.fill("#text", " ")
    page.locator("#text").press("Control+Enter")
    expect(page.locator("#error")).to_have_text("The text: The text is empty.")


@needs_chromium
def test_a_text_goes_on_on_the_page(page):
    choose(page, "bard", "How does this text go on?")
    page.fill("#text", "hello")
    page.get_by_label("Characters").fill("20")
    page.get_by_role("button", name="Go on").click()
    expect(page.locator("#status")).to_have_text("20 characters.")
    story = page.locator("#story").text_content()
    assert story.startswith("hello") and len(story) == 25
    for control in page.locator("input:visible, select:visible, textarea:visible").all():
        assert control.evaluate("each => each.labels.length > 0"), control.get_attribute("id")
    page.set_viewport_size({"width": 320, "height": 640})
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
