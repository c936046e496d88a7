"""A run's flags.txt, which says every flag, is no contradiction in itself."""

import pytest
from absl import flags

from keras_resnet.commands import run


@pytest.fixture
def given(monkeypatch):
    """Parses a command's words in place of this process'."""
    values = flags.FlagValues()
    flags.DEFINE_enum("window", "scale", ["scale", "area"], "", flag_values=values)
    flags.DEFINE_integer("low", 256, "", flag_values=values)
    flags.DEFINE_list("boundaries", ["1", "2"], "", flag_values=values)
    monkeypatch.setattr(run, "FLAGS", values)
    return lambda *words: values(["it", *words])


BELONGS = {"low": ("window", "scale"), "boundaries": ("window", "scale")}


def test_a_default_that_is_said_again_belongs_to_everything(given):
    given("--window=area", "--low=256", "--boundaries=1,2")
    run.refuse_strays(BELONGS)
    assert not run.chosen("low") and run.chosen("window")


@pytest.mark.parametrize("stray", ["--low=255", "--boundaries=1"])
def test_another_value_belongs_to_one(given, stray):
    given("--window=area", stray)
    with pytest.raises(ValueError, match=r"^--\w+ belongs to --window=scale, but --window is area"):
        run.refuse_strays(BELONGS)
