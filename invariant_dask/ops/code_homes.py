"""Where code lives: the project's own code, the standard library, or an installed distribution.

Answers by module name and file only; what the code does is not looked at, and nothing is imported.
"""

from __future__ import annotations

import functools
import os
import sys
from dataclasses import dataclass
from types import FunctionType, MethodType, ModuleType
from typing import Any, Literal

from invariant_dask._version import __version__

PACKAGE = "invariant_dask"
_DISTRIBUTION = "invariant-dask"

_STDLIB_FOLDERS = tuple(
    os.path.join(folder, "")  # noqa: PTH118  compared as text with module files
    for folder in {
        os.path.dirname(os.__file__),  # noqa: PTH120
        os.path.join(sys.base_prefix, "DLLs"),  # noqa: PTH118
    }
)
_SITE_FOLDERS = frozenset({"site-packages", "dist-packages"})


@dataclass(frozen=True, slots=True)
class Home:
    """What a module belongs to; `distribution` and `version` are set for installed ones."""

    kind: Literal["own", "stdlib", "installed"]
    distribution: str = ""
    version: str = ""

    @property
    def is_own(self) -> bool:
        return self.kind == "own"


OWN = Home("own")
STDLIB = Home("stdlib")
OURS = Home("installed", _DISTRIBUTION, __version__)

_homes: dict[tuple[str, str | None], Home] = {}
_distributions: dict[str, list[str]] = {}


def distribution_of(thing: Any) -> tuple[str, str] | None:
    """Return the installed distribution that a module, class or function lives in.

    Returns
    -------
    tuple of str, or None
        Name and version; None for own code (editable installs are own) and the standard library.
        A function counts as installed only if both its definition and its code are: one that an
        installed decorator made of an own function is own.
    """
    home = home_of(thing)
    return (home.distribution, home.version) if home.kind == "installed" else None


def home_of(thing: Any) -> Home:
    """Return the home of a module, class, function or, by its class, of any other object."""
    if isinstance(thing, ModuleType):
        return home_of_module(thing)
    if isinstance(thing, MethodType):
        thing = thing.__func__
    name = getattr(thing, "__module__", None)
    if not isinstance(name, str):
        name = type(thing).__module__
    home = home_of_name(name)
    if isinstance(thing, FunctionType) and home.kind != "own":
        code = home_of_namespace(thing.__globals__)
        return code if code.is_own else home
    return home


def home_of_module(module: ModuleType) -> Home:
    """Return the home of a loaded module."""
    return _home(module.__name__, _file_of(module))


def home_of_name(name: str) -> Home:
    """Return the home of a module by name; one that is not loaded is looked for, not imported."""
    module = sys.modules.get(name)
    if module is not None:
        return _home(name, _file_of(module))
    top = name.partition(".")[0]
    package = sys.modules.get(top)
    return _home(top, _file_of(package) if package is not None else _file_of_unloaded(top))


def home_of_namespace(namespace: dict[str, Any]) -> Home:
    """Return the home of the module that has these globals."""
    name = namespace.get("__name__")
    if not isinstance(name, str):
        return OWN
    file = namespace.get("__file__")
    if not isinstance(file, str):
        return home_of_name(name)
    return _home(name, file)


def is_ours(thing: Any) -> bool:
    """Return whether an object belongs to this package, as its decorators do."""
    if isinstance(thing, ModuleType):
        name: Any = thing.__name__
    else:
        # Asked of exact types only: some objects answer to any attribute, for ever.
        if isinstance(thing, MethodType) and is_ours(thing.__func__):
            return True
        if isinstance(thing, functools.partial) and is_ours(thing.func):
            return True
        name = getattr(thing, "__module__", None)
        if not isinstance(name, str):
            name = type(thing).__module__
    return isinstance(name, str) and name.partition(".")[0] == PACKAGE


def public_module(name: str) -> str:
    """Return a name of a standard module that holds across Python versions and platforms."""
    top = name.partition(".")[0]
    if top in {"posixpath", "ntpath"}:
        return "os"
    # pathlib became pathlib._local, C parts of functools are in _functools, and so on.
    return top.lstrip("_") or top


def root_of(namespace: dict[str, Any]) -> str | None:
    """Return the folder from which a module's top package is imported, or None if unknown."""
    file, name = namespace.get("__file__"), namespace.get("__name__")
    if not isinstance(file, str) or not isinstance(name, str):
        return None
    folder = os.path.dirname(os.path.abspath(file))  # noqa: PTH100, PTH120
    package = namespace.get("__package__")
    depth = package.count(".") + 1 if isinstance(package, str) and package else 0
    for _ in range(depth):
        folder = os.path.dirname(folder)  # noqa: PTH120
    return folder if os.path.dirname(folder) != folder else None  # noqa: PTH120


def _home(name: str, file: str | None) -> Home:
    key = (name, file)
    found = _homes.get(key)
    if found is None:
        found = _homes[key] = _look(name, file)
    return found


def _look(name: str, file: str | None) -> Home:
    top = name.partition(".")[0]
    if top == PACKAGE:
        # Always installed, be it imported from a checkout: its releases declare their own versions.
        return OURS
    if top in {"__main__", "__mp_main__"}:
        return OWN
    if file is None or file in {"built-in", "frozen"}:
        return STDLIB if top in sys.stdlib_module_names else OWN
    if not _SITE_FOLDERS.isdisjoint(file.replace("\\", "/").split("/")):
        found = _distribution(top, file)
        # A loose file among installed ones has no version that could stand for its code.
        return OWN if found is None else Home("installed", *found)
    # The folder decides, not the name: a project may have its own `types.py` or `test`.
    return STDLIB if file.startswith(_STDLIB_FOLDERS) else OWN


def _file_of(module: ModuleType) -> str | None:
    file = getattr(module, "__file__", None)
    if isinstance(file, str):
        return file
    spec = getattr(module, "__spec__", None)
    return _location(spec)


def _file_of_unloaded(top: str) -> str | None:
    from importlib.util import find_spec

    try:
        return _location(find_spec(top))
    except (ImportError, ValueError):
        return None


def _location(spec: Any) -> str | None:
    if spec is None:
        return None
    if isinstance(spec.origin, str):
        return str(spec.origin)
    # A namespace package has folders only.
    folders = list(spec.submodule_search_locations or ())
    return os.path.join(folders[0], "") if folders else None  # noqa: PTH118


def _distribution(top: str, file: str) -> tuple[str, str] | None:
    from importlib import metadata  # slow to import, and only needed for installed code

    try:
        likely = metadata.distribution(top)
    except (metadata.PackageNotFoundError, ValueError):
        pass  # the module is called otherwise than its distribution
    else:
        if _holds(likely, top, file):
            return str(likely.metadata["Name"]), likely.version
    if not _distributions:
        _distributions.update(metadata.packages_distributions())
    names = sorted(set(_distributions.get(top, ())))
    if len(names) > 1:
        names = [n for n in names if _holds(metadata.distribution(n), top, file)] or names
    return (names[0], metadata.version(names[0])) if names else None


def _holds(distribution: Any, top: str, file: str) -> bool:
    wanted = file.replace("\\", "/")
    for entry in distribution.files or ():
        path = str(entry).replace("\\", "/")
        if path.split("/", 1)[0].split(".", 1)[0] == top and (wanted.endswith(("/" + path, "/"))):
            return True
    return False
