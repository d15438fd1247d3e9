"""Where ops are found by name: those registered, our own libraries, and installed packages.

Libraries and packages are loaded when one of their ops is first asked for: most processes need few
of them, late. What may be registered under which name is the registry's business.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

from invariant_dask.errors import OpPackageWarning, RegistrationError, UnknownOpError
from invariant_dask.ops import claims, packages
from invariant_dask.ops.code_homes import is_ours
from invariant_dask.ops.entry import Op, make_op
from invariant_dask.ops.identity import same_origin
from invariant_dask.ops.packages import Provided

LIBRARIES = ("poly", "stdlib")
"""Prefixes of our own libraries; no package takes their place."""


class OpTable:
    """Ops by name; safe to use from several threads."""

    def __init__(self, *, libraries: bool, discovery: bool) -> None:
        self._lock = threading.RLock()
        self._with_libraries = libraries
        self._with_packages = discovery
        self._reset()

    def get(self, name: str) -> Op:
        """Return the op with a name, from an installed package if need be.

        Raises
        ------
        UnknownOpError
            If there is none; the message names close matches, or says what is wrong with the
            package that should have it.
        """
        found = self._ops.get(name) or self._load_for(name)
        if found is None:
            reason = self._reason(name)
            raise UnknownOpError(op=name, known=self.names(), reason=reason)
        if not is_ours(found.function):
            claims.claim_declared()
        return found

    def has(self, name: str) -> bool:
        """Return whether there is an op with a name, in an installed package if need be."""
        return name in self

    def names(self) -> tuple[str, ...]:
        """Return all names, sorted; those of packages that were not used or discovered are not."""
        for prefix in LIBRARIES:
            self._load_library(prefix)
        return tuple(sorted(self._ops))

    def discover(self) -> tuple[str, ...]:
        """Import all installed packages of ops and register what they provide.

        They are the entry points of the group `invariant.ops`. An op that was registered otherwise
        keeps its name. There is no need to call this before using an op: its package is found by
        its prefix.

        Returns
        -------
        tuple of str
            The names that are new, sorted.

        Warns
        -----
        OpPackageWarning
            For each package, or op, that cannot be used, with the reason.
        """
        before = self._ops.keys()
        for prefix, provided in groupby(packages.installed(), key=lambda p: p.prefix):
            self._load_packages(prefix, tuple(provided))
        for problem in self.problems.values():
            warnings.warn(problem, OpPackageWarning, stacklevel=2)
        return tuple(sorted(self._ops.keys() - before))

    @property
    def problems(self) -> Mapping[str, str]:
        """What is wrong with packages that were loaded: by name of an op, or by `prefix:`."""
        return {name: text for found in self._problems.values() for name, text in found.items()}

    def clear(self) -> None:
        """Forget all that was registered; the registry is as when it was new."""
        with self._lock:
            self._reset()

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str):
            return False
        if name in self._ops or self._load_for(name) is not None:
            return True
        if reason := self._reason(name):
            warnings.warn(reason, OpPackageWarning, stacklevel=3)
        return False

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self.names())

    def __repr__(self) -> str:
        counts: dict[str, int] = {}
        for name in self.names():
            package = name.partition(":")[0]
            counts[package] = counts.get(package, 0) + 1
        listed = ", ".join(f"{package}: {count}" for package, count in counts.items())
        return f"<{type(self).__name__} of {len(self)} ops ({listed or 'empty'})>"

    def _reset(self) -> None:
        self._ops: dict[str, Op] = {}
        self._pending = set(LIBRARIES) if self._with_libraries else set()
        self._loaded: dict[str, tuple[Provided, ...]] = {}
        self._problems: dict[str, Mapping[str, str]] = {}

    def _add(self, ops: Iterable[Op], replace: bool) -> None:
        with self._lock:
            ops = tuple(ops)
            for prefix in {op.name.partition(":")[0] for op in ops}.intersection(LIBRARIES):
                self._load_library(prefix)
            if not replace:
                for op in ops:
                    _check_free(op, self._ops.get(op.name))
            # One new table instead of many changes: readers see all of a package or none.
            self._ops = {**self._ops, **{op.name: op for op in ops}}

    def _load_for(self, name: str) -> Op | None:
        """Load what may have an op that was not found, and return the op."""
        prefix = name.partition(":")[0]
        if prefix in LIBRARIES:
            self._load_library(prefix)
        elif self._with_packages and ":" in name:
            candidates = (p for p in packages.installed() if name.startswith(p.prefix + ":"))
            for prefix, provided in groupby(candidates, key=lambda p: p.prefix):
                self._load_packages(prefix, tuple(provided))
        return self._ops.get(name)

    def _load_library(self, prefix: str) -> None:
        if prefix in self._pending:
            with self._lock:
                if prefix in self._pending:
                    self._ops = {**_library(prefix), **self._ops}
                    self._pending.discard(prefix)

    def _load_packages(self, prefix: str, provided: tuple[Provided, ...]) -> None:
        if self._loaded.get(prefix) == provided:
            return
        if prefix in LIBRARIES:
            others = [p for p in provided if not p.reference.startswith("invariant.")]
            problems = {f"{p.prefix}:": f"{p} has a prefix that is taken" for p in others}
            found = packages.Loaded((), problems)
        else:
            # Not under the lock: what is imported may register ops of its own, in any thread.
            found = packages.load(provided)
        with self._lock:
            self._ops = {**{op.name: op for op in found.ops}, **self._ops}
            self._problems = {**self._problems, prefix: found.problems}
            if not found.problems:
                # What is broken is tried again: it may have been mended.
                self._loaded[prefix] = provided

    def _reason(self, name: str) -> str:
        """Return what is wrong with the package that should have an op."""
        prefixes = [prefix for prefix in self._problems if name.startswith(prefix + ":")]
        found = [self._problems[prefix] for prefix in prefixes]
        reasons = [p.get(name) or p.get(f"{x}:") for x, p in zip(prefixes, found, strict=True)]
        return "; ".join(filter(None, reasons))


def _library(prefix: str) -> dict[str, Op]:
    functions: Mapping[str, Callable[..., Any]]
    versions: Mapping[str, str]
    if prefix == "stdlib":
        from invariant_dask.ops import stdlib

        functions, inline = stdlib.OPS, stdlib.INLINE
        version, versions = stdlib.VERSION, stdlib.VERSIONS
    else:
        from invariant_dask.ops import poly

        functions, inline = poly.OPS, frozenset[str]()
        version, versions = poly.VERSION, poly.VERSIONS
    ops = {}
    for short, function in functions.items():
        name = f"{prefix}:{short}"
        ops[name] = make_op(
            name,
            function,
            version=versions.get(short, version),
            inline=short in inline,
            requires=(),
        )
    return ops


def _check_free(new: Op, old: Op | None) -> None:
    if old is None or same_origin(old.function, new.function):
        return
    msg = (
        f"op {new.name!r} is already registered by {_where(old.function)}, and "
        f"{_where(new.function)} is another function; use another name or replace=True"
    )
    raise RegistrationError(msg)


def _where(function: Any) -> str:
    module, qualname = (
        getattr(function, "__module__", None),
        getattr(function, "__qualname__", None),
    )
    return f"{module}.{qualname}" if module and qualname else repr(function)
