"""The server's page in headless Chromium, as a user meets it; nothing is drawn or said that the network did not say."""

import base64
import io
import os
import shutil

import numpy as np
import pytest
import server_process
import serving_kit
from PIL import Image


def package(name):
    return pytest.importorskip(name, reason="not installed; the extra `test` brings it")


_, sync_api = package("aiohttp"), package("playwright.sync_api")
expect = sync_api.expect  # waits; wait_for_function would need the page's policy to allow eval
expect.set_options(timeout=60_000)
NAMES = ("cat", "dog", "<b>żaba</b>", "emu", "fox", "gnu")
# What one says of a picture: files whose best classes differ are found below.
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if not CHROMIUM and not os.environ.get("CI"):
    pytest.skip(
        "chromium is not installed (Debian: apt-get install chromium)", allow_module_level=True
    )


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """(folder of an export, the Keras model)."""
    import telling

    from keras_resnet.serving import export

    folder = tmp_path_factory.mktemp("models") / "net"
    model = telling.network(len(NAMES))
    export.save(model, folder, class_names=NAMES, top=5, resize=32)
    return folder, model


@pytest.fixture(scope="module")
def server(network):
    with server_process.running("--model_name=net", f"--model_base_path={network[0]}") as server:
        yield server


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser, server):
    """The page; it has asked no other place and written no error, of the policy or a script, in the end."""
    page = browser.new_page()
    page.set_default_timeout(60_000)
    errors, places = [], set()
    page.on(
        "console", lambda message: errors.append(message.text) if message.type == "error" else None
    )
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: places.add(request.url.partition("/page")[0].split("/v")[0]))
    page.goto(server.url)
    page.wait_for_selector("body[data-ready]")
    yield page
    allowed = getattr(page, "expected_errors", ())
    assert [error for error in errors if not any(part in error for part in allowed)] == []
    assert {place.rstrip("/") for place in places if not place.startswith("blob:")} == {server.url}
    page.close()


def files(count=2, side=48):
    """PNGs of one colour and noise, each of another best class."""
    return {f"{i} ä&<i>.png": serving_kit.png(i, side) for i in range(count)}


def choose(page, name, content, kind="image/png"):
    page.set_input_files("#file", {"name": name, "mimeType": kind, "buffer": content})


def is_answered(page, name):
    """Waits for a picture's answer; the rows of the page: [(class, share, whether chosen)]."""
    page.wait_for_selector("#result:not([aria-busy])", state="visible")
    expect(page.locator("#name")).to_have_text(name)
    expect(page.locator("#status")).to_contain_text("Best class")
    assert page.locator("#error").is_hidden()
    return [
        (
            row.locator(".label").text_content(),
            row.locator(".share").text_content(),
            row.locator("input").is_checked(),
        )
        for row in page.locator(".class").all()
    ]


def pixels(page):
    """uint8 [H,W,3] of the canvas."""
    url = page.evaluate("document.querySelector('canvas').toDataURL()")
    content = base64.b64decode(url.partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def seen(content):
    from keras_resnet.data import images, views

    return views.center(32, 32)(images.decode(content)).numpy()


def expected(model, content):
    shares = model.predict_on_batch(seen(content)[None])[0]
    best = np.argsort(-shares)[:5]
    return [(NAMES[i], shares[i]) for i in best]


def test_two_pictures_after_each_other(page, network):
    for name, content in files().items():
        choose(page, name, content)
        rows = is_answered(page, name)
        wanted = expected(network[1], content)
        assert [row[0] for row in rows] == [each for each, _ in wanted]
        for (_, share, _), (_, value) in zip(rows, wanted, strict=True):
            assert abs(float(share.removesuffix("%")) - 100 * value) < 0.6
        assert [row[2] for row in rows] == [True, False, False, False, False]
        widths = [bar.bounding_box()["width"] for bar in page.locator(".track span").all()]
        assert widths == sorted(widths, reverse=True)
        assert wanted[0][0] in page.locator("#status").text_content()


def test_the_heat_map_of_a_chosen_class_is_grad_cams(page, network):
    """By the keyboard; the canvas against `evaluation.grad_cam.overlay` of the live network."""
    from keras_resnet.evaluation import grad_cam

    [(name, content)] = files(1).items()
    choose(page, name, content)
    rows = is_answered(page, name)
    drawn = []
    for i in range(3):
        if i:
            page.locator(".class input").nth(i - 1).press("ArrowDown")
            expect(page.locator(".class input").nth(i)).to_be_checked()
            expect(page.locator("#status")).to_have_text(f"Heat map of {rows[i][0]}.")
        picture = seen(content)[None]
        heat, _, _ = grad_cam.grad_cam(network[1], picture, [NAMES.index(rows[i][0])])
        large = np.asarray(
            Image.fromarray(picture[0]).resize((448, 448), Image.Resampling.BILINEAR)
        )
        wanted = grad_cam.overlay(large[None], heat)[0].astype(int)
        got = pixels(page).astype(int)
        assert got.shape == wanted.shape
        if heat.any():  # enlarged by another program
            assert np.abs(got - wanted).mean() < 8
        drawn.append(got)
    assert any(np.abs(drawn[0] - other).mean() > 1 for other in drawn[1:])
    page.locator("#opacity").fill("0")
    bare = pixels(page).astype(int)
    assert np.abs(bare - large).mean() < 4


@pytest.mark.parametrize(
    "name, content, sentence",
    [
        (
            "notes.txt",
            b"not a picture",
            "is no picture that the model reads: choose a JPEG or PNG file.",
        ),
        ("empty.png", b"", "The picture is empty."),
        ("cut.jpg", b"\xff\xd8\xff\xe0 and no more", "damaged"),
    ],
)
def test_a_file_that_is_no_picture(page, name, content, sentence):
    choose(page, name, content)
    error = page.locator("#error")
    error.wait_for(state="visible")
    assert name in error.text_content() and sentence in error.text_content()
    assert page.locator("#result").is_hidden() and error.get_attribute("role") == "alert"
    [(good, content)] = files(1).items()
    choose(page, good, content)
    assert len(is_answered(page, good)) == 5


def test_a_picture_is_dropped(page):
    [(name, content)] = files(1).items()
    data = base64.b64encode(content).decode()
    transfer = page.evaluate_handle(
        """([name, data]) => {
          const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
          const transfer = new DataTransfer();
          transfer.items.add(new File([bytes], name, { type: "image/png" }));
          return transfer;
        }""",
        [name, data],
    )
    page.dispatch_event("main", "drop", {"dataTransfer": transfer})
    assert len(is_answered(page, name)) == 5


def test_a_small_screen(page):
    page.set_viewport_size({"width": 320, "height": 640})
    [(name, content)] = files(1).items()
    choose(page, name, content)
    is_answered(page, name)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    boxes = [page.locator(place).bounding_box() for place in ("canvas", "fieldset")]
    assert boxes[1]["y"] > boxes[0]["y"] + boxes[0]["height"]  # one below the other


def test_by_keyboard_and_for_screen_readers(page):
    page.keyboard.press("Tab")
    if page.evaluate("document.activeElement.id") == "model":
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "file"
    [(name, content)] = files(1).items()
    choose(page, name, content)
    is_answered(page, name)
    for control in page.locator("input:visible, select:visible").all():
        assert control.evaluate("each => each.labels.length > 0"), control.get_attribute("id")
    assert page.locator("#status").get_attribute("aria-live") == "polite"
    assert name in page.locator("canvas").get_attribute("aria-label")
    assert page.get_by_role("radio").count() == 5
    assert page.get_by_role("group", name="The 5 best classes").count() == 1


def test_a_server_that_has_gone(page, network):
    page.expected_errors = ("Failed to load resource",)
    page.route("**/v1/**", lambda route: route.abort())
    [(name, content)] = files(1).items()
    choose(page, name, content)
    error = page.locator("#error")
    error.wait_for(state="visible")
    assert "The server does not answer" in error.text_content()


def test_an_export_without_heat_maps(browser, tmp_path):
    serving_kit.save(tmp_path / "tiny")
    with server_process.running(
        "--model_name=tiny", f"--model_base_path={tmp_path}/tiny"
    ) as server:
        page = browser.new_page()
        page.goto(server.url)
        page.wait_for_selector("body[data-ready]")
        [(name, content)] = files(1).items()
        choose(page, name, content)
        assert len(is_answered(page, name)) == serving_kit.TOP
        assert "export the model again" in page.locator("#hint-heat").text_content()
        assert page.locator("#opacity").is_hidden()
        assert (
            np.abs(
                pixels(page).astype(int).mean((0, 1))
                - np.asarray(Image.open(io.BytesIO(content))).mean((0, 1))
            ).max()
            < 5
        )
        page.close()
