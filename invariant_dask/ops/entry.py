"""One registered op: a function, its name, and what its author declared.

What may be an op and how it may be called is checked here, once; names being taken or free is the
registry's business.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from types import FunctionType
from typing import Any, Literal, TypeAlias

from invariant_dask.core.manifest import CODE_OP
from invariant_dask.errors import RegistrationError
from invariant_dask.ops.contracts import Contract, contract_of
from invariant_dask.ops.identity import OpIdentity, identify, reference_of
from invariant_dask.ops.signature import Signature, signature_of

OnDrift: TypeAlias = Literal["warn", "error", "ignore"]

SCHEDULING: Mapping[str, str] = {
    "blocking": "blocking",
    "cpu-bound": "cpu_bound",
    "io-bound": "io_bound",
    "process-safe": "process_safe",
    "thread-safe": "thread_safe",
}
"""What schedulers may make of traits, by trait; others are kept and mean nothing here."""

_TRAITS_ATTRIBUTE = "__invariant_op_traits__"

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_\-.:/]{0,199}")


@dataclass(frozen=True, slots=True)
class Op:
    """A function behind a registered name.

    Attributes
    ----------
    name : str
        The registered name.
    function : callable
        What runs; it is called with keywords only.
    signature : Signature
        What it takes.
    version : str or None
        Declared by the author; None means that the code identifies the op.
    inline : bool
        Cheap enough to be evaluated while compiling, or inside each consumer.
    requires : tuple of str or None
        Distributions that enter the identity; None means what own code imports.
    on_drift : str
        What to do when code changes under one declared version: `warn`, `error` or `ignore`.
    traits : tuple of str
        What the author says of how it runs, such as `io-bound`; never part of the identity.
    """

    name: str
    function: Callable[..., Any]
    signature: Signature
    version: str | None = None
    inline: bool = False
    requires: tuple[str, ...] | None = None
    on_drift: OnDrift = "warn"
    traits: tuple[str, ...] = ()
    _contract: list[Contract | None] = field(
        default_factory=list, init=False, repr=False, compare=False
    )

    @property
    def contract(self) -> Contract | None:
        """What its type hints say; None if that is nothing that can be checked."""
        # Read when first needed: hints may name what its module defines further down.
        if not self._contract:
            self._contract.append(contract_of(self.function))
        return self._contract[0]

    @property
    def scheduling(self) -> dict[str, bool]:
        """What the traits mean to a scheduler: `{"io_bound": True}`; empty if nothing is known."""
        return {SCHEDULING[trait]: True for trait in self.traits if trait in SCHEDULING}

    @property
    def implementation(self) -> str | None:
        """`module:qualname` where other processes find the function; None if it must be shipped."""
        # Asked anew each time: while `@op` runs, the module does not have the function yet.
        return reference_of(self.function)

    def identity(self) -> OpIdentity:
        """Return the identity that the op has now; see `invariant_dask.ops.identity.identify`.

        Raises
        ------
        CodeIdentityError
            If its code reaches something that cannot be expressed.
        """
        return identify(self.name, self.function, version=self.version, requires=self.requires)

    def __repr__(self) -> str:
        version = "" if self.version is None else f", version={self.version!r}"
        return f"<Op {self.name}({self.signature.describe()}){version}>"


def make_op(
    name: str,
    function: Any,
    *,
    version: str | None,
    inline: bool,
    requires: Iterable[str] | None,
    on_drift: OnDrift = "warn",
    traits: Iterable[str] = (),
) -> Op:
    if not is_name(name):
        raise RegistrationError(bad_name(name))
    if name == CODE_OP:
        msg = f"{name!r} is the name under which stores keep the code of ops; take another one"
        raise RegistrationError(msg)
    if not callable(function):
        msg = f"op {name!r}: {function!r} is not callable"
        raise RegistrationError(msg)
    if version is not None and (type(version) is not str or not version):
        msg = f"op {name!r}: version must be non-empty text, such as version='1', not {version!r}"
        raise RegistrationError(msg)
    if on_drift not in {"warn", "error", "ignore"}:
        msg = f"op {name!r}: on_drift is 'warn', 'error' or 'ignore', not {on_drift!r}"
        raise RegistrationError(msg)
    if isinstance(requires, str):
        msg = f"op {name!r}: requires is a sequence of names; write requires=({requires!r},)"
        raise RegistrationError(msg)
    return Op(
        name=name,
        function=function,
        signature=signature_of(name, function),
        version=version,
        inline=bool(inline),
        requires=None if requires is None else tuple(requires),
        on_drift=on_drift,
        traits=_traits(name, function, traits),
    )


def _traits(name: str, function: Any, given: object) -> tuple[str, ...]:
    """Return the traits of an op, sorted: those given, and those its function is marked with."""
    while isinstance(function, partial):
        function = function.func
    marked = getattr(function, _TRAITS_ATTRIBUTE, ())
    found = set()
    for traits in (given, marked):
        if isinstance(traits, str) or not isinstance(traits, Iterable):
            msg = f"op {name!r}: traits is a list of texts such as 'io-bound', not {traits!r}"
            raise RegistrationError(msg)
        for trait in traits:
            text = trait.value if isinstance(trait, Enum) else trait
            if not isinstance(text, str) or not text:
                msg = f"op {name!r}: a trait is a text such as 'io-bound', not {trait!r}"
                raise RegistrationError(msg)
            found.add(str(text))
    return tuple(sorted(found))


def default_name(function: Callable[..., Any]) -> str:
    module, name = getattr(function, "__module__", None), getattr(function, "__name__", None)
    if not isinstance(function, FunctionType) or not isinstance(module, str):
        msg = f"{function!r} is not a function; give it a name: op('package:verb')"
        raise RegistrationError(msg)
    last = module.rpartition(".")[2].lstrip("_")
    if module in {"__main__", "__mp_main__"}:
        last = "main"
    full = f"{last}:{name}"
    if not _NAME.fullmatch(full):
        msg = f"{full!r} cannot be the name of an op; give one: op('package:verb')"
        raise RegistrationError(msg)
    return full


def is_name(name: object) -> bool:
    return type(name) is str and _NAME.fullmatch(name) is not None


def bad_name(name: object) -> str:
    return (
        f"{name!r:.220} cannot be the name of an op: letters, digits and _ - . : / are allowed, "
        "starting with a letter, at most 200 in all"
    )
