"""Digests as people write them: raw, in hexadecimal, or as a Dask key."""

from __future__ import annotations

import re

from invariant_dask.core.digest import DIGEST_SIZE
from invariant_dask.errors import SpecError

_HEX_DIGEST = re.compile(r"(?:^|[^0-9a-f])([0-9a-f]{64})$")


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
