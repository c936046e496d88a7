"""Pictures say what they should: class names as they stand, counts in cells, truth beside guess, curves uncovered."""

import warnings

import numpy as np
import pytest
from matplotlib import font_manager
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from keras_resnet.evaluation import plots


@pytest.fixture
def drawn(monkeypatch):
    """Text -> its families, of what is drawn."""
    texts = {}
    save = Figure.savefig

    def savefig(figure, *arguments, **named):
        for axes in figure.axes:
            for text in (axes.title, *axes.get_xticklabels(), *axes.get_yticklabels()):
                texts[text.get_text()] = text.get_fontfamily()
        return save(figure, *arguments, **named)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return texts


def draw(names, tmp_path):
    """Both sheets that name classes."""
    classes = len(names)
    pictures = np.zeros((classes, 4, 4, 3), np.uint8)
    shares = np.roll(np.eye(classes), 1, 1)
    plots.predictions(pictures, np.arange(classes), shares, names, tmp_path / "sheet.png")
    plots.confusion(np.eye(classes, dtype=int), names, tmp_path / "confusion.png")
    for name in ("sheet.png", "confusion.png"):
        with Image.open(tmp_path / name) as picture:
            assert picture.size > (100, 100)


def test_dollars_are_no_formulas(tmp_path, drawn):
    names = ["$1_$5", "$x^$", r"\frac_{$a$}", "100%"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw(names, tmp_path)
    assert set(names) <= drawn.keys()


def test_a_font_that_has_the_letters_is_taken(tmp_path, drawn):
    """Of the fonts that come with matplotlib, one has a letter that the usual one has not."""

    def letters(family):
        return font_manager.get_font(font_manager.findfont(family)).get_charmap().keys()

    letter = chr(max(letters("STIXGeneral") - letters("DejaVu Sans")))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw([f"a{letter}", "b"], tmp_path)
    families = drawn[f"a{letter}"]
    assert families[0] == "DejaVu Sans" and len(families) == 2
    assert ord(letter) in letters(families[1])


def test_a_font_that_was_removed_is_passed_over(tmp_path, monkeypatch):
    gone = font_manager.FontEntry(fname=str(tmp_path / "gone.ttf"), name="A font")
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [gone])
    with pytest.warns(UserWarning, match="No installed font has 1 of"):
        draw(["\U000f0004 dog", "cat"], tmp_path)


def test_letters_that_no_font_has_are_said_once(tmp_path):
    names = ["\U000f0001\U000f0002 dog", "\U000f0003 cat"]  # private ones
    with pytest.warns(UserWarning) as said:
        draw(names, tmp_path)
        draw(names, tmp_path)
    sentences = {str(warning.message) for warning in said}
    assert len(sentences) == 1
    assert "No installed font has 3 of the class names' letters" in sentences.pop()


# --- what a picture says


@pytest.fixture
def figures(monkeypatch):
    """The figures that are saved."""
    saved = []
    save = Figure.savefig

    def savefig(figure, *arguments, **named):
        save(figure, *arguments, **named)
        saved.append(figure)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return saved


def test_cells_of_a_small_confusion_have_their_counts(tmp_path, figures):
    counts = np.array([[9, 1, 0], [0, 12, 0], [3, 0, 7]])
    plots.confusion(counts, ["ant", "bee", "cat"], tmp_path / "x.png")
    axes = figures[0].axes[0]
    written = {text.get_position(): text.get_text() for text in axes.texts}
    assert written == {
        (column, row): str(counts[row, column]) for row, column in zip(*np.nonzero(counts), strict=True)
    }  # fmt: skip
    # Dark on light and light on dark.
    lightness = {text.get_position(): np.mean(to_rgb(text.get_color())) for text in axes.texts}
    assert lightness[1, 0] < 0.5 < lightness[1, 1]
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.width > 300


def test_cells_of_a_large_confusion_have_none(tmp_path, figures):
    plots.confusion(np.eye(100, dtype=int), [str(i) for i in range(100)], tmp_path / "x.png")
    assert not figures[0].axes[0].texts


def test_few_mistakes_do_not_look_like_many(tmp_path, figures):
    """2 in 100 are seen, and nearer to none than to half of them."""
    plots.confusion(np.array([[98, 2], [50, 50]]), ["a", "b"], tmp_path / "x.png")
    image = figures[0].axes[0].images[0]
    none, few, half = image.cmap(image.norm([0, 2, 50]))[:, :3]
    assert 0.03 < np.linalg.norm(few - none) < np.linalg.norm(few - half)


def test_the_sheet_says_guess_and_truth_of_each(tmp_path, figures):
    shares = np.array([[0.9, 0.1], [0.4, 0.6]])
    plots.predictions(
        np.zeros((2, 4, 4, 1), np.uint8), [0, 0], shares, ["ant", "bee"], tmp_path / "x.png"
    )
    right, wrong = (axes.title for axes in figures[0].axes)
    assert (right.get_text(), wrong.get_text()) == ("ant 90%\nis ant", "bee 60%\nis ant")
    assert right.get_color() != wrong.get_color()


ROWS = [
    {"step": 10 * k, "loss": 1 / k, "accuracy": 1 - 0.5 / k, "holdout_loss": 1.1 / k, "holdout_accuracy": 0.9 - 0.5 / k}
    for k in range(1, 6)
]  # fmt: skip


@pytest.mark.parametrize("many", [1, 5])
def test_the_legend_hides_no_curve(tmp_path, figures, many):
    plots.curves(ROWS[:many], tmp_path / "x.png", "a network")
    [figure] = figures
    for axes in figure.axes:
        assert len(axes.get_legend().get_texts()) == 2
        legend, curves = axes.get_legend().get_window_extent(), axes.get_window_extent()
        assert not legend.overlaps(curves)
        assert legend.x0 >= 0 and legend.x1 <= figure.bbox.width


def test_the_kept_epoch_is_marked(tmp_path, figures):
    """With the test beside it: of that epoch's weights, not of the last step's."""
    rows = [*ROWS, {"step": 50, "test_loss": 0.5, "test_accuracy": 0.8}]
    plots.curves(rows, tmp_path / "x.png", kept=30)
    plots.curves(rows, tmp_path / "y.png")
    for axes in figures[0].axes:
        marks = [line for line in axes.lines if set(line.get_xdata()) == {30}]
        assert len(marks) == 2
    texts = [text.get_text() for text in figures[0].axes[1].get_legend().get_texts()]
    assert texts == ["training (83.33%)", "held out (73.33%)", "test (80.00%)", "kept"]
    for axes in figures[1].axes:
        assert [line for line in axes.lines if set(line.get_xdata()) == {50}]
        assert "kept" not in [text.get_text() for text in axes.get_legend().get_texts()]


def test_an_explanation_is_of_the_pictures_own_pixels(tmp_path, figures):
    random = np.random.default_rng(0)
    one, other = random.integers(0, 256, (2, 61, 83, 3), np.uint8)
    plots.pair(one, other, "$ant$ 97.3%", tmp_path / "x.png", mark={"Software": "a test"})
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.text["Software"] == "a test"
        drawn = np.asarray(picture.convert("RGB"))
    height, width = drawn.shape[:2]
    assert width == 2 * 83 + plots.GAP and height > 61
    np.testing.assert_array_equal(drawn[-61:, :83], one)
    np.testing.assert_array_equal(drawn[-61:, -83:], other)
    assert [text.get_text() for text in figures[0].texts] == ["$ant$ 97.3%"]
    assert (drawn[:-61] < 128).any()


def test_curves_of_another_figure(tmp_path, monkeypatch):
    """Beside the loss; and the loss alone where there is no other."""
    figures = []
    monkeypatch.setattr(plots, "save", lambda figure, path: figures.append(figure))
    rows = [
        {"step": i, "loss": 2.0 / i, "holdout_loss": 3.0 / i, "holdout_ap": 0.1 * i} for i in (1, 2)
    ]
    plots.curves(rows, tmp_path / "a.png", figure="ap", loss="focal loss")
    plots.curves(rows[:1], tmp_path / "b.png", figure="iou")
    left, right = figures[0].axes
    assert (left.get_ylabel(), right.get_ylabel()) == ("focal loss", "ap, %")
    [line] = right.lines
    assert list(line.get_ydata()) == [10, 20] and line.get_label() == "held out (20.00%)"
    [alone] = figures[1].axes
    assert len(alone.lines) == 2


def test_boxes_stand_beside_the_truth_with_their_counts(tmp_path, figures):
    picture = np.full((20, 30, 3), 200, np.uint8)
    there = np.array([[1, 2, 11, 12], [15, 2, 25, 12]], np.float32), np.array([0, 1])
    found = there[0][:1], there[1][:1]
    none = np.zeros((0, 4), np.float32), np.zeros(0, int)
    names = ("cat", "$dog$")
    plots.boxes([picture] * 2, [there, none], [found, none], names, tmp_path / "x.png")
    axes = figures[0].axes
    titles = [one.get_title() for one in axes]
    assert titles == ["there: cat 1, $dog$ 1", "found: cat 1", "there: nothing", "found: nothing"]
    assert [len(one.patches) for one in axes] == [2, 1, 0, 0]
    assert axes[0].patches[1].get_bbox().extents.tolist() == [15, 2, 25, 12]
    assert Image.open(tmp_path / "x.png").size[0] > 500


def test_masks_lie_over_their_pictures_with_a_legend(tmp_path, figures):
    picture = np.full((20, 30, 3), 200, np.uint8)
    truth = np.zeros((20, 30), np.uint8)
    truth[:, 10:20], truth[:, 20:] = 1, 255
    found = np.zeros((20, 30), np.uint8)
    names, iou = ("sky", "$road$", "car"), [0.5, 0.0, np.nan]
    plots.masks([picture] * 2, [truth] * 2, [found] * 2, names, tmp_path / "x.png", iou=iou)
    axes = figures[0].axes
    assert [one.get_title() for one in axes] == ["picture", "true", "found", "", "", ""]
    shown = [np.asarray(one.images[0].get_array()) for one in axes[:3]]
    np.testing.assert_array_equal(shown[0], picture)
    for overlay, mask in zip(shown[1:], (truth, found), strict=True):
        for label in np.unique(mask):
            assert len(np.unique(overlay[mask == label], axis=0)) == 1
    assert len(np.unique(shown[1].reshape(-1, 3), axis=0)) == 3
    assert (
        shown[1][0, 25] == 50
    ).all()  # of an unknown class: black, with a quarter of the picture
    np.testing.assert_array_equal(shown[1][:, :10], shown[2][:, :10])
    legend = figures[0].legends[0]
    assert [text.get_text() for text in legend.get_texts()] == [
        "sky  50.0",
        "$road$  0.0",
        "car  -",
    ]
    assert legend.get_title().get_text() == "IoU, %\n(mean 25.0)"
    colours = [to_rgb(patch.get_facecolor()) for patch in legend.get_patches()]
    assert len({*colours}) == 3
    np.testing.assert_allclose(shown[2][0, 0], 255 * 0.75 * np.array(colours[0]) + 50, atol=1)
