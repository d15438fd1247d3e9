"""Whose code a module is: the standard library's, a distribution's, or the user's own."""

from __future__ import annotations

import functools
import sys
import sysconfig
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

PACKAGE = "invariant_dask"


def module_of(obj: Any) -> str | None:
    """Return the name of the module that an object says it was defined in."""
    if isinstance(obj, ModuleType):
        return obj.__name__
    name = getattr(obj, "__module__", None)
    return name if isinstance(name, str) else None


@functools.cache
def _site_folders() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    return tuple({str(Path(paths[key]).resolve()) for key in ("purelib", "platlib")})


@functools.cache
def _distributions() -> dict[str, list[str]]:
    return dict(metadata.packages_distributions())


def is_stdlib(module: str) -> bool:
    """Return whether a module is the standard library's."""
    return module.partition(".")[0] in sys.stdlib_module_names or module == "builtins"


def distribution_of(obj: Any) -> tuple[str, str] | None:
    """Return name and version of the installed distribution that an object lives in, if any.

    None for own code: what lies outside site-packages, editable installs included.
    """
    module = module_of(obj)
    if module is None or module in {"__main__", "__mp_main__"} or is_stdlib(module):
        return None
    return _distribution_of_module(module, _file_of(module))


@functools.cache
def _distribution_of_module(module: str, file: str | None) -> tuple[str, str] | None:
    top = module.partition(".")[0]
    if top == PACKAGE:
        from invariant_dask._version import __version__

        return "invariant-dask", __version__
    if file is not None and not _is_installed(file):
        return None
    for name in _distributions().get(top, ()):
        return name, metadata.version(name)
    if file is None:
        return None
    return top, "unknown"


def _file_of(module: str) -> str | None:
    found = sys.modules.get(module)
    file = getattr(found, "__file__", None)
    if file is None and found is not None:
        paths = list(getattr(found, "__path__", ()))
        file = paths[0] if paths else None
    return file


def _is_installed(file: str) -> bool:
    path = str(Path(file).resolve())
    parts = Path(path).parts
    return path.startswith(_site_folders()) or "site-packages" in parts or "dist-packages" in parts


def is_own(obj: Any) -> bool:
    """Return whether an object was defined in the user's own code."""
    module = module_of(obj)
    if module is None or is_stdlib(module):
        return False
    return distribution_of(obj) is None
