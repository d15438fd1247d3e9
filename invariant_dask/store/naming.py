"""Digests as people write them: raw, in hexadecimal, or as a Dask key."""

from __future__ import annotations

import re

from invariant_dask.core.digest import DIGEST_SIZE
from invariant_dask.errors import SpecError

_HEX_DIGEST = re.compile(r"(?:^|[^0-9a-f])([0-9a-f]{64})$")

_ASIDE = re.compile(r"([0-9]+)-([0-9a-f]{64})\.(entry|blob)(?:\.zst)?")


def aside_name(digest: bytes, what: str, now: int) -> str:
    """Return under which name something damaged is kept; names sort by age."""
    return f"{now}-{digest.hex()}.{what}"


def parse_aside(name: str) -> tuple[int, bytes, str] | None:
    """Return when, what digest and what kind of thing was set aside; None if the name is no such.

    The report beside it has the same name with `.json` behind.
    """
    match = _ASIDE.fullmatch(name)
    return None if match is None else (int(match[1]), bytes.fromhex(match[2]), match[3])


def names_digest(text: str) -> bool:
    """Return whether text is a digest in hexadecimal, or a Dask key that ends in one."""
    return _HEX_DIGEST.search(text) is not None


def parse_digest(digest: bytes | str) -> bytes:
    """Return the 32 bytes of a digest given as such, in hexadecimal or as a Dask key.

    Raises
    ------
    SpecError
        If it is none of these.
    """
    if isinstance(digest, str):
        match = _HEX_DIGEST.search(digest)
        if match is not None:
            return bytes.fromhex(match[1])
    elif len(digest) == DIGEST_SIZE:
        return bytes(digest)
    msg = f"not a digest: {digest!r} (expected 64 hexadecimal digits, or 32 bytes)"
    raise SpecError(msg)
