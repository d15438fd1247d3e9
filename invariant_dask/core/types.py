"""Types that users make cacheable, and the table that finds them by class or by name.

A registered type is either *fields* (an immutable object that can be taken apart into a cacheable
value and put together again) or *stream* (an `ICacheable`, which hashes and writes itself). Its
encoding carries its name and its identity, so values of two versions of a class never meet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Protocol, Self, runtime_checkable

from invariant_dask.errors import RegistrationError, UnknownTypeError


@runtime_checkable
class ICacheable(Protocol):
    """A value that computes its own identity and writes itself to a stream."""

    def get_stable_hash(self) -> str:
        """Return 64 hexadecimal digits that depend on the structural state and nothing else."""
        ...

    def to_stream(self, stream: BinaryIO) -> None:
        """Write what `from_stream` needs."""
        ...

    @classmethod
    def from_stream(cls, stream: BinaryIO) -> Self:
        """Read back a value with the same stable hash."""
        ...


@dataclass(slots=True)
class TypeBinding:
    """How values of one class are encoded.

    `identity` is text, or a function that returns it and is called once, when first needed: a
    class fingerprint can only be taken after the module that defines the class is fully there.
    """

    cls: type
    name: str
    identity_source: str | Callable[[], str]
    to_value: Callable[[Any], Any] | None = None
    from_value: Callable[[Any], Any] | None = None
    _identity: str | None = field(default=None, repr=False)

    @property
    def identity(self) -> str:
        """The declared version or class fingerprint."""
        if self._identity is None:
            source = self.identity_source
            self._identity = source if isinstance(source, str) else source()
        return self._identity

    @property
    def is_stream(self) -> bool:
        """Whether values hash and write themselves."""
        return self.to_value is None


Claim = Callable[[type], bool]
NameClaim = Callable[[str, str], bool]

_by_class: dict[type, TypeBinding] = {}
_by_name: dict[str, list[TypeBinding]] = {}
_claims: list[Claim] = []
_name_claims: list[NameClaim] = []


def bind(binding: TypeBinding) -> None:
    """Add a type to the table; binding the same class again replaces what was said of it.

    Raises
    ------
    RegistrationError
        If a stream type is not an `ICacheable`.
    """
    cls = binding.cls
    if binding.is_stream and not (
        callable(getattr(cls, "get_stable_hash", None))
        and callable(getattr(cls, "to_stream", None))
        and callable(getattr(cls, "from_stream", None))
    ):
        msg = (
            f"{cls.__qualname__} is neither a dataclass nor an ICacheable "
            "(get_stable_hash, to_stream, from_stream); pass to_value= and from_value="
        )
        raise RegistrationError(msg)
    old = _by_class.get(cls)
    if old is not None:
        _by_name[old.name].remove(old)
    _by_class[cls] = binding
    _by_name.setdefault(binding.name, []).append(binding)


def binding_of(cls: type) -> TypeBinding | None:
    """Return how `cls` is encoded, or None if it is not registered."""
    return _by_class.get(cls)


def on_unknown(claim: Claim) -> None:
    """Have `claim` asked about classes of live values that are not registered; it may `bind` them.

    Only for values that are at hand: what bytes name is never asked about.
    """
    if claim not in _claims:
        _claims.append(claim)


def claimed(cls: type) -> TypeBinding | None:
    """Return how a class that is not registered is encoded, if somebody stands up for it."""
    return _by_class.get(cls) if any(claim(cls) for claim in _claims) else None


def on_unknown_name(claim: NameClaim) -> None:
    """Have `claim` asked about names and identities in bytes that are not registered.

    It may `bind` a class that it knew beforehand, and never one that only the bytes lead to.
    """
    if claim not in _name_claims:
        _name_claims.append(claim)


def bindings() -> tuple[TypeBinding, ...]:
    """Return all that is registered."""
    return tuple(_by_class.values())


def find(name: str, identity: str) -> TypeBinding:
    """Return the registered type that bytes name.

    Raises
    ------
    UnknownTypeError
        If this process has not registered exactly that type; nothing is imported.
    """
    binding = _find(name, identity)
    if binding is None and any(claim(name, identity) for claim in _name_claims):
        binding = _find(name, identity)
    if binding is not None:
        return binding
    raise UnknownTypeError(name=name, identity=identity)


def _find(name: str, identity: str) -> TypeBinding | None:
    for binding in reversed(_by_name.get(name, ())):
        if binding.identity == identity:
            return binding
    return None


def adopt(binding: TypeBinding) -> None:
    """Add a type that came by value with an op, unless an equal one is known."""
    for known in _by_name.get(binding.name, ()):
        if known.cls is binding.cls:
            return
    bind(binding)
