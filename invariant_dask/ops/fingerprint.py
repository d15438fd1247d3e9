"""The code fingerprint: an identity of a function made from all own code that it reaches.

Two functions with one fingerprint do the same, as far as code can tell: their syntax, what their
names stand for, constants by value. This module owns the digest and the explanation of it; the
walk is `reach`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from invariant_dask.core.cbor import head
from invariant_dask.core.digest import DOMAIN_CODE, sha256
from invariant_dask.ops.code_homes import distribution_of
from invariant_dask.ops.code_parts import Chunks, Part, items, raw, readable
from invariant_dask.ops.reach import Walk

__all__ = ["Fingerprint", "distribution_of", "fingerprint", "fingerprint_class"]


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The identity of some code, and what it was made of.

    Attributes
    ----------
    digest : str
        SHA-256 in hex of the parts and how they are linked: what enters an identity.
    parts : Mapping[str, str]
        A short hash of each function, class, constant, closure cell and default: tells which of
        them changed between two fingerprints.
    distributions : Mapping[str, str]
        Installed distributions that are reached, with their versions; not part of the digest.
    modules : tuple of str
        Own modules that are reached, sorted.
    types : tuple of type
        Own classes that are reached.
    blind : tuple of str
        What cannot be seen, such as `shade line 12: getattr(...)`.
    """

    digest: str
    parts: Mapping[str, str] = field(hash=False)
    distributions: Mapping[str, str] = field(hash=False)
    modules: tuple[str, ...]
    types: tuple[type, ...] = field(compare=False)
    blind: tuple[str, ...]


def fingerprint(function: Callable[..., Any], *, name: str) -> Fingerprint:
    """Return the fingerprint of a function, or of any callable, as it is now.

    Parameters
    ----------
    function
        A function, class, partial, bound method or instance of an own class.
    name
        What errors call it, usually the name of the op.

    Raises
    ------
    CodeIdentityError
        If it reaches something that has no source or no value.
    StaleCodeError
        If the source of something it reaches changed since it was loaded.

    Notes
    -----
    Files are read each time and parsed again only if they changed; constants are read each time.
    """
    walk = walk_of(function, name)
    return Fingerprint(
        digest=digest_of(walk),
        parts=dict(sorted((label, short) for label, short, _ in named_parts(walk))),
        distributions=dict(sorted(walk.distributions.items())),
        modules=tuple(sorted(walk.modules)),
        types=tuple(walk.types),
        blind=tuple(sorted(walk.blind)),
    )


def fingerprint_class(cls: type) -> str:
    """Return the fingerprint of a class in hex: its bases, methods, attributes and their reach.

    Raises
    ------
    CodeIdentityError, StaleCodeError
        As `fingerprint`.
    """
    return digest_of(walk_of(cls, cls.__qualname__))


def walk_of(start: Any, name: str) -> Walk:
    """Return the walk through all own code that an object reaches.

    Raises
    ------
    CodeIdentityError, StaleCodeError
        As `fingerprint`.
    """
    walk = Walk(name)
    shown = getattr(start, "__qualname__", None)
    walk.run(start, (shown if isinstance(shown, str) else type(start).__name__,))
    return walk


def digest_of(walk: Walk) -> str:
    """Return the fingerprint of what was walked through, in hex."""
    parts = walk.parts
    numbers = {id(part): number for number, part in enumerate(parts)}
    content = sha256(DOMAIN_CODE + items(len(parts)))
    for part in parts:
        # Bytes between links are one string, wherever the walk happened to cut them.
        pieces: list[bytes] = []
        run: list[bytes] = []
        for chunk in part.chunks:
            if isinstance(chunk, bytes):
                run.append(chunk)
            else:
                pieces += (raw(b"".join(run)), head(0, numbers[id(chunk)]))
                run = []
        pieces.append(raw(b"".join(run)))
        content.update(items(len(pieces)) + b"".join(pieces))
    return content.hexdigest()


def named_parts(walk: Walk) -> Iterator[tuple[str, str, Part | None]]:
    """Yield name and short hash of each part, the first one first, and those of constants."""
    taken: set[str] = set()
    for part in walk.parts:
        # Closures made by one function share a name.
        number, unique = 1, part.label
        while unique in taken:
            number += 1
            unique = f"{part.label} ({number})"
        taken.add(unique)
        yield unique, _short(part.chunks), part
    for label, chunks in walk.shown.items():
        if label not in taken:
            yield label, _short(chunks), None


def _short(chunks: Chunks) -> str:
    return sha256(DOMAIN_CODE + readable(chunks)).hexdigest()[:16]
