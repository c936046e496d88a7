"""Every public function of the package says what it takes and gives."""

import ast
import pathlib

import pytest

import keras_resnet

PACKAGE = pathlib.Path(keras_resnet.__file__).parent
FILES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


def public(body, place=""):
    """(dotted name, function) of the public functions and methods, and of constructors and calls."""
    for node in body:
        name = getattr(node, "name", "_")
        if name.startswith("_") and name not in ("__init__", "__call__"):
            continue
        if isinstance(node, ast.ClassDef):
            yield from public(node.body, f"{place}{name}.")
        else:
            yield f"{place}{name}", node


def missing(name, function):
    """Arguments without an annotation, and "return"; a method's first argument needs none."""
    spec = function.args
    static = any(ast.unparse(d) == "staticmethod" for d in function.decorator_list)
    arguments = [*spec.posonlyargs, *spec.args]["." in name and not static :] + spec.kwonlyargs
    found = [argument.arg for argument in arguments if argument.annotation is None]
    return found + ["return"] * (function.returns is None and not name.endswith("__init__"))


def lacking(source):
    """Dotted name of each public function that lacks annotations -> which."""
    functions = public(ast.parse(source).body)
    return {name: found for name, function in functions if (found := missing(name, function))}


@pytest.mark.parametrize("file", FILES, ids=str)
def test_public_functions_are_annotated(file):
    assert lacking((PACKAGE / file).read_text("utf-8")) == {}


def test_what_lacks_annotations_is_found():
    source = """
def whole(a: int, *, b: str = "") -> None: ...
def halves(a, b: int, *, c): ...
def _private(a): ...
class Thing:
    def __init__(self, a: int, b): ...
    def __len__(self): ...
    def method(self) -> int: ...
    @staticmethod
    def plain(a) -> int: ...
    @property
    def value(self): ...
    @classmethod
    def made(cls, config): ...
class _Hidden:
    def method(self): ...
"""
    assert lacking(source) == {
        "halves": ["a", "c", "return"],
        "Thing.__init__": ["b"],
        "Thing.plain": ["a"],
        "Thing.value": ["return"],
        "Thing.made": ["config", "return"],
    }
