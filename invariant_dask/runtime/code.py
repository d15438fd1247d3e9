"""The code of an op, wherever its task runs: found here, or brought along by value.

A task names its op by identity. A process uses a function only after taking that function's own
identity and finding it equal; so a worker that still has an older version of a module loaded never
runs it under a new digest. Where the graph was compiled, code can still change under our feet: a
run compares again before it starts, plain Dask whenever it takes a graph and while it runs one.
Own code comes along pickled by value, through Dask, never through a store.
"""

from __future__ import annotations

import decimal
import importlib
import os
import pickle
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import cloudpickle

from invariant_dask.core import types
from invariant_dask.errors import InvariantError, StaleCodeError
from invariant_dask.ops.contracts import Contract, contract_of
from invariant_dask.ops.entry import OnDrift, Op
from invariant_dask.ops.fingerprint import distribution_of
from invariant_dask.ops.hints import hints_of
from invariant_dask.ops.identity import OpIdentity, identify, reference_of
from invariant_dask.ops.numeric import DECIMAL_CONTEXT
from invariant_dask.ops.signature import signature_of
from invariant_dask.ops.surroundings import PYTHONS_CONTEXT
from invariant_dask.plan.program import BoundOp, Step


@dataclass(frozen=True, slots=True)
class CodeRef:
    """Where a task finds its op."""

    name: str
    identity: bytes
    implementation: str | None
    """`module:qualname` of an importable function."""
    version: str | None
    requires: tuple[str, ...] | None
    payload: bytes | None
    """The function and the own code it reaches, pickled by value; None for installed code."""
    fingerprint: str = ""
    """Of the code, where the identity is a declared version."""
    obstacle: str = ""
    """Why there is no payload, if there should be one."""
    rounds: bool = False
    """Whether it is an op of an installed package, written for Python's own decimal context."""

    @property
    def context(self) -> decimal.Context:
        """The decimal context to run it in."""
        return PYTHONS_CONTEXT if self.rounds else DECIMAL_CONTEXT

    @property
    def key(self) -> Key:
        """What tells this code from any other, under one declared version too."""
        return self.identity, self.fingerprint


@dataclass(slots=True, kw_only=True)
class ShippedOp(BoundOp):
    """An op that came along with a task; its code was compared when it was found here."""

    ref: CodeRef


class Code(NamedTuple):
    """A function, and what its type hints say."""

    function: Callable[..., Any]
    contract: Contract | None


Key = tuple[bytes, str]

FRESH = 0.002
"""How long, in seconds, plain Dask relies on a check of code that lives in this process.

Nobody tells us when plain Dask starts on a graph that was made long ago, so its tasks check again.
"""

_lock = threading.RLock()
_offered: dict[Key, Op] = {}
_ready: dict[Key, Code] = {}
_checked: dict[Key, float] = {}
"""When code of this process was last compared with its identity."""
_packed: dict[Key, CodeRef] = {}


def _after_fork() -> None:
    global _lock  # noqa: PLW0603  a thread that the child does not have may hold it
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_after_fork)


def offer(bound: BoundOp) -> None:
    """Make an op of this process known to the tasks that will run in it."""
    key = bound.identity, bound.code
    with _lock:
        known = _offered.get(key)
        if known is None or known.function is not bound.op.function:
            # A function made anew, in a notebook or by a reload, takes the place of the old one.
            _offered[key] = bound.op
            _ready.pop(key, None)
            _packed.pop(key, None)


def recheck(bound: BoundOp) -> OpIdentity:
    """Return the identity of an op, now; it must be what it was when its graph was compiled.

    Raises
    ------
    StaleCodeError
        If the op, or code it uses, changed since then.
    """
    start = time.monotonic()
    identity = bound.op.identity()
    if identity.encode() != bound.identity:
        msg = (
            f"op {bound.op.name!r} or code it uses changed since the graph was compiled; "
            "compile the graph again"
        )
        raise StaleCodeError(msg)
    _checked[bound.identity, bound.code] = start
    return identity


def recheck_ops(steps: Iterable[Step]) -> None:
    """Raise StaleCodeError if an op of some steps changed since they were compiled."""
    recheck_all({id(step.bound): step.bound for step in steps}.values())


def recheck_all(ops: Iterable[BoundOp]) -> None:
    """Raise StaleCodeError if one of these ops changed since it was compiled."""
    for bound in ops:
        if not isinstance(bound, ShippedOp):
            recheck(bound)


def receive(ref: CodeRef, *, inline: bool, on_drift: OnDrift) -> ShippedOp:
    """Return an op that came along with a task.

    Raises
    ------
    StaleCodeError
        As `code_of` does.
    """
    function, contract = code_of(ref, recent=True)
    signature = signature_of(ref.name, function)
    op = Op(ref.name, function, signature, ref.version, inline, ref.requires, on_drift)
    return ShippedOp(op, ref.identity, ref.fingerprint, contract, ref=ref)


def reference(bound: BoundOp) -> CodeRef:
    """Return how tasks find an op; own code is packed by value once per identity."""
    if isinstance(bound, ShippedOp):
        return bound.ref
    offer(bound)
    with _lock:
        key = bound.identity, bound.code
        known = _packed.get(key)
        if known is None:
            known = _packed[key] = _pack(bound)
        return known


def local_reference(bound: BoundOp) -> CodeRef:
    """Return how tasks of this process find an op; nothing is packed."""
    if isinstance(bound, ShippedOp):
        return bound.ref
    offer(bound)
    op = bound.op
    rounds = _rounds(op.function)
    return CodeRef(
        op.name, bound.identity, None, op.version, op.requires, None, bound.code, rounds=rounds
    )


def _rounds(function: Callable[..., Any]) -> bool:
    home = distribution_of(function)
    return home is not None and home[0] != "invariant-dask"


def code_of(ref: CodeRef, *, recent: bool = False) -> Code:
    """Return the function behind a reference, with what its type hints say.

    Parameters
    ----------
    ref
        The reference.
    recent
        Whether a check of long ago will not do, for code that may have changed since.

    Raises
    ------
    StaleCodeError
        If this process has other code under that name and none came along.
    """
    found = _ready.get(ref.key)
    if found is not None and recent and ref.key in _offered:
        if time.monotonic() - _checked.get(ref.key, 0) >= FRESH:
            recheck(BoundOp(_offered[ref.key], *ref.key))
    elif found is None:
        with _lock:
            found = _ready.get(ref.key)
            if found is None:
                found = _ready[ref.key] = _find(ref)
    return found


def _pack(bound: BoundOp) -> CodeRef:
    # Code that changed must not travel under the identity of what it was.
    code = recheck(bound).code
    op = bound.op
    function = op.function
    ref = CodeRef(
        op.name, bound.identity, reference_of(function), op.version, op.requires, None, bound.code,
        rounds=_rounds(function),
    )  # fmt: skip
    if ref.implementation is not None and distribution_of(function) is not None:
        return ref  # installed code is installed on workers too, or that is an error
    modules = (function.__module__,) if code is None else code.modules
    try:
        payload = _pickle_by_value(function, modules, () if code is None else code.types)
        return replace(ref, payload=payload)
    except Exception as error:  # noqa: BLE001  any object can fail to pickle in any way
        return replace(ref, obstacle=f"{type(error).__name__}: {error}")


def _pickle_by_value(
    function: Callable[..., Any], modules: tuple[str, ...], classes: tuple[type, ...]
) -> bytes:
    bindings = [
        types.TypeBinding(b.cls, b.name, b.identity, b.to_value, b.from_value)
        for b in map(types.binding_of, classes)
        if b is not None
    ]
    registered = []
    try:
        for name in modules:
            module = sys.modules.get(name)
            if module is not None and name != "__main__":
                cloudpickle.register_pickle_by_value(module)
                registered.append(module)
        return cloudpickle.dumps((function, bindings, _pack_hints(function)))  # type: ignore[no-any-return]
    finally:
        for module in registered:
            cloudpickle.unregister_pickle_by_value(module)


def _find(ref: CodeRef) -> Code:
    offered = _offered.get(ref.key)
    if offered is not None:
        recheck(BoundOp(offered, *ref.key))
        return Code(offered.function, offered.contract)
    imported, why_not = _import(ref)
    if imported is not None:
        return Code(imported, contract_of(imported))
    if ref.payload is None:
        cure = (
            f"it could not be sent along ({ref.obstacle}); make its module importable on workers"
            if ref.obstacle
            else "install the same version on the workers, or restart them"
        )
        msg = f"op {ref.name!r}: this worker has no matching code ({why_not}); {cure}"
        raise StaleCodeError(msg)
    # The payload came with the task, through Dask, as the graph itself did.
    function, bindings, hints = pickle.loads(ref.payload)  # noqa: S301
    for binding in bindings:
        types.adopt(binding)
    return Code(function, contract_of(function, _unpack_hints(hints)))


def _pack_hints(function: Callable[..., Any]) -> dict[str, bytes]:
    """Return the hints of a function, each pickled: what they name may not come with its code."""
    packed = {}
    for name, hint in hints_of(function).items():
        with suppress(Exception):  # it is not checked then, as where it cannot be evaluated
            packed[name] = cloudpickle.dumps(hint)
    return packed


def _unpack_hints(packed: Mapping[str, bytes]) -> dict[str, Any]:
    hints = {}
    for name, pickled in packed.items():
        with suppress(Exception):  # such as a module that is not here
            hints[name] = pickle.loads(pickled)  # noqa: S301  it came with the function
    return hints


def _import(ref: CodeRef) -> tuple[Callable[..., Any] | None, str]:
    """Return the importable function if it is the same code, else None and why it is not."""
    if ref.implementation is None:
        return None, "it is not importable"
    module_name, _, qualname = ref.implementation.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
        for part in qualname.split("."):
            found = getattr(found, part)
        identity = identify(ref.name, found, version=ref.version, requires=ref.requires)
    except (ImportError, AttributeError, InvariantError) as error:
        return None, f"{type(error).__name__}: {error}"
    if identity.encode() != ref.identity:
        return None, f"{ref.implementation} is another version here"
    if ref.version is not None and ref.payload is not None:
        # A declared version says nothing about which code is loaded here; the task's own does.
        return None, "its version is declared, and its code came along"
    return found, ""
