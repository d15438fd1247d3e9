"""Packages of ops that installed distributions provide: the entry points `invariant.ops`.

An entry point is named by the prefix of its ops; it leads to a mapping of names to functions, a
module or object that has one as `OPS`, or a function that returns one. Nothing is imported before
an op of that prefix is asked for, or everything is. What cannot be used is told of, with the
reason; the registry decides who hears it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from invariant_dask.errors import InvariantError, RegistrationError
from invariant_dask.ops import claims
from invariant_dask.ops.entry import Op, bad_name, is_name, make_op
from invariant_dask.ops.identity import same_origin

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

Functions = Mapping[str, Callable[..., Any]]


@dataclass(frozen=True, slots=True)
class Provided:
    """An entry point: somebody provides ops under a prefix.

    Attributes
    ----------
    prefix : str
        What stands before the colon in the names of its ops.
    reference : str
        `module:attribute`, where the ops are.
    distribution : str
        Name and version of what was installed.
    """

    prefix: str
    reference: str
    distribution: str
    entry: EntryPoint

    def __str__(self) -> str:
        where = f" of {self.distribution}" if self.distribution else ""
        return f"op package {self.prefix!r}{where} ({self.reference})"


@dataclass(frozen=True, slots=True)
class Loaded:
    """What came of the packages of one prefix.

    Attributes
    ----------
    ops : tuple of Op
        What can be used.
    problems : Mapping[str, str]
        What cannot, with the reason: by name of the op, or by `prefix:` where it is all of them.
    """

    ops: tuple[Op, ...]
    problems: Mapping[str, str]


_installed: tuple[object, tuple[Provided, ...]] = None, ()


def installed() -> tuple[Provided, ...]:
    """Return all entry points, by prefix; nothing is imported."""
    global _installed  # noqa: PLW0603  reading them all takes milliseconds
    state = tuple((folder, _changed(folder)) for folder in sys.path)
    if _installed[0] != state:
        from importlib import metadata

        found = [
            Provided(
                entry.name,
                entry.value,
                "" if entry.dist is None else f"{entry.dist.name} {entry.dist.version}",
                entry,
            )
            for entry in metadata.entry_points(group=claims.GROUP)
        ]
        _installed = state, tuple(sorted(found, key=lambda p: (p.prefix, p.distribution)))
    return _installed[1]


def load(provided: Iterable[Provided]) -> Loaded:
    """Import the packages of one prefix, and make ops of their functions.

    Two packages may share a prefix, but a name that stands for two functions can be used for none.
    """
    ops: dict[str, Op] = {}
    problems: dict[str, str] = {}
    sources: dict[str, Provided] = {}
    for package in provided:
        try:
            functions = _functions_at(package)
        except (Exception, SystemExit) as error:  # noqa: BLE001  what an import can raise
            problems[f"{package.prefix}:"] = f"{package} cannot be loaded: {_why(error)}"
            continue
        claims.claim_package(functions.values())
        for name, function in functions.items():
            full = f"{package.prefix}:{name}"
            try:
                op = make_op(full, function, version=None, inline=False, requires=None)
            except RegistrationError as error:
                problems[full] = f"{package}: {error}"
                continue
            if full in ops and not same_origin(ops[full].function, function):
                problems[full] = f"{package} and {sources[full]} both have an op {full!r}"
                continue
            ops[full], sources[full] = op, package
    return Loaded(tuple(op for name, op in ops.items() if name not in problems), problems)


def functions_of(package: object, name: str) -> Functions:
    """Return the functions of a package: a mapping, or what has one as `OPS`.

    Raises
    ------
    RegistrationError
        If it is neither.
    """
    functions = package if isinstance(package, Mapping) else getattr(package, "OPS", None)
    if not isinstance(functions, Mapping):
        msg = f"package {name!r}: expected a mapping or a module with OPS, got {package!r:.200}"
        raise RegistrationError(msg)
    return functions


def _functions_at(provided: Provided) -> Functions:
    if not is_name(provided.prefix):
        raise RegistrationError(bad_name(provided.prefix))
    package = provided.entry.load()
    if callable(package) and not hasattr(package, "OPS"):
        package = package()
    return functions_of(package, provided.prefix)


def _why(error: BaseException) -> str:
    return str(error) if isinstance(error, InvariantError) else f"{type(error).__name__}: {error}"


def _changed(folder: str) -> int:
    try:
        return os.stat(folder or os.curdir).st_mtime_ns  # noqa: PTH116
    except OSError:
        return 0
