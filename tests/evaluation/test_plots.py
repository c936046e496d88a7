"""Class names are drawn as they stand, in fonts that have their letters."""

import warnings

import numpy as np
import pytest
from matplotlib import font_manager
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
