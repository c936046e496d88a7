"""Packages whose parts are imported when first touched."""

import importlib
import sys
from collections.abc import Callable


def attach(package: str, **names: str) -> tuple[Callable, Callable]:
    """`__getattr__` and `__dir__` of a package: its modules, and names out of them.

    Args:
        package: the package's `__name__`.
        names: module of the package -> those of its names, between blanks, that the package has too.
    """
    here = sys.modules[package]
    homes = {name: module for module, listed in names.items() for name in listed.split()}

    def __getattr__(name):
        if name in homes:
            value = getattr(importlib.import_module(f"{package}.{homes[name]}"), name)
        else:
            module = f"{package}.{name}"
            try:
                value = None if name.startswith("__") else importlib.import_module(module)
            except ModuleNotFoundError as error:
                if error.name != module:
                    raise
                value = None
            if value is None:
                raise AttributeError(f"module {package!r} has no attribute {name!r}")
        setattr(here, name, value)
        return value

    def __dir__():
        import pkgutil  # a third of the time of `import keras_resnet`, and few ask

        modules = {module.name for module in pkgutil.iter_modules(here.__path__)}
        return sorted({*homes, *(name for name in modules if name[0] != "_")})

    return __getattr__, __dir__
