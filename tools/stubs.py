"""Writes the package's type stubs: what editors and type checkers see of names that exist at run time alone.

    python tools/stubs.py

`applications.pyi` has a `def` for each line of the table of networks, with the signature of the one function
that builds them; each package's `__init__.pyi` has the names and modules that `support/lazy.py` imports when
they are touched.
"""

import ast
import pathlib
import pkgutil
import re
import textwrap

PACKAGE = pathlib.Path(__file__).resolve().parents[1] / "keras_resnet"
HEAD = "# Written by tools/stubs.py: run it again after a change of names or arguments.\n\n"


def stubs() -> dict[pathlib.Path, str]:
    """Path of each stub -> its text."""
    found = {PACKAGE / "applications.pyi": _applications()}
    for path in sorted(PACKAGE.rglob("__init__.py")):
        if text := _package(path):
            found[path.with_suffix(".pyi")] = HEAD + text
    return found


def _package(path):
    """The stub of a lazy package, or "" of one that is not."""
    tree = ast.parse(path.read_text("utf-8"))
    [attached] = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "lazy.attach"
    ] or [None]
    if attached is None:
        return ""
    names = {
        keyword.arg: sorted(ast.literal_eval(keyword.value).split())
        for keyword in attached.keywords
    }
    if path.parent == PACKAGE:
        names["applications"] = [*names["applications"], *_networks()]
    modules = [module.name for module in pkgutil.iter_modules([str(path.parent)])]
    lines = [f"from . import {module} as {module}" for module in modules if module[0] != "_"]
    lines += [
        f"from .{module} import {name} as {name}"
        for module in sorted(names)
        for name in names[module]
    ]
    if path.parent == PACKAGE:
        lines.append("\n__version__: str")
    return "\n".join(lines) + "\n"


def _applications():
    """Imports, public functions and networks of applications.py; the networks' signature is `build`'s."""
    tree = ast.parse((PACKAGE / "applications.py").read_text("utf-8"))
    functions = {n.name: n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
    public = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name[0] != "_"]
    parts = [_function(node.name, node, ast.get_docstring(node)) for node in public]
    parts += [
        _function(name, functions["build"], network.__doc__, network)
        for name, network in _networks().items()
    ]
    text = "".join(parts)
    imports = [n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
    for node in imports:
        node.names = [n for n in node.names if re.search(rf"\b{n.asname or n.name}\b", text)]
    lines = [ast.unparse(node) for node in imports if node.names]
    return HEAD + "\n".join(lines) + "\n\n" + text


def _networks():
    from keras_resnet import applications

    return {name: applications.get(name) for name in applications.list_models()}


def _function(name, node, doc, function=None):
    """A `def` with defaults where they are literals, wrapped to 120 columns, and the docstring's first sentence."""
    arguments = []
    spec = node.args
    defaults = [None] * (len(spec.args) - len(spec.defaults)) + spec.defaults
    for i, (argument, default) in enumerate(
        [
            *zip(spec.args, defaults, strict=True),
            *zip(spec.kwonlyargs, spec.kw_defaults, strict=True),
        ]
    ):
        text = ast.unparse(argument)
        if default is not None:
            text += f" = {_default(argument.arg, default, function)}"
        star = "*, " if spec.kwonlyargs and i == len(spec.args) else ""
        arguments.append(star + text)
    signature = ", ".join(arguments)
    result = ast.unparse(node.returns)
    if len(arguments) > 3:
        # Lines break at the blank after an argument's comma alone, never inside an annotation.
        joined = ", ".join(argument.replace(" ", "\0") for argument in arguments)
        lines = textwrap.wrap(joined, 112, break_long_words=False, break_on_hyphens=False)
        signature = "\n    " + "\n    ".join(lines).replace("\0", " ") + ",\n"
    first = doc.strip().splitlines()[0]
    return f'def {name}({signature}) -> {result}:\n    """{first}"""\n'.replace("'", '"')


def _default(name, node, function):
    if isinstance(node, ast.Constant):
        return repr(node.value)
    value = (function.__kwdefaults__ or {}).get(name)
    if value is None:
        place = function.__code__.co_varnames.index(name)
        value = function.__defaults__[place]
    return repr(value) if isinstance(value, int | str) else "..."


if __name__ == "__main__":
    for path, text in stubs().items():
        path.write_text(text, "utf-8")
