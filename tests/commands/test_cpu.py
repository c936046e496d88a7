"""What is said of a precision on a CPU without instructions for it; /proc/cpuinfo is put in its place."""

import pathlib

import pytest

from keras_resnet.commands import cpu


@pytest.fixture
def has(monkeypatch):
    def has(*instructions):
        text = f"processor\t: 0\nmodel name\t: A: 2\nflags\t\t: fpu {' '.join(instructions)}\nbugs\t\t: none\n"
        monkeypatch.setattr(pathlib.Path, "read_text", lambda *_: text)

    return has


def test_instructions_are_whole_words_in_their_order(has):
    has("avx512_vnni_like", "avx512f", "avx2")
    assert cpu.instructions() == ["avx2", "avx512f"]
    assert cpu.name() == "A: 2"


@pytest.mark.parametrize(
    ("precision", "instruction"),
    [
        ("mixed_bfloat16", "avx512_bf16"),
        ("bfloat16", "amx_bf16"),
        ("int8", "avx_vnni"),
        ("int8", "avx512_vnni"),
    ],
)
def test_a_sentence_where_a_precision_gains_nothing(has, precision, instruction):
    has("avx2")
    sentence = cpu.advice(precision)
    assert instruction in sentence and "float32" in sentence
    has("avx2", instruction)
    assert cpu.advice(precision) is None


@pytest.mark.parametrize("precision", ["float32", "mixed_float16", "float16"])
def test_nothing_of_others(has, precision):
    has("avx2")
    assert cpu.advice(precision) is None


def test_nothing_where_the_cpu_is_not_known(monkeypatch):
    def missing(*_):
        raise FileNotFoundError

    monkeypatch.setattr(pathlib.Path, "read_text", missing)
    assert cpu.instructions() == [] and cpu.name() == "" and cpu.advice("int8") is None
