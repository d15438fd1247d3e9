"""Who signed an entry, for people: the name that this user knows a key by, and whether it holds."""

from __future__ import annotations

import base64
from typing import NamedTuple

from invariant_dask.store import keys
from invariant_dask.store.keys import KEY_SIZE
from invariant_dask.store.record import statement
from invariant_dask.store.trust import Trust


class Signer(NamedTuple):
    """Who signed an entry."""

    name: str
    """What this user calls the key; empty if it is not known here."""
    key: str
    """The public key in base64."""
    trusted: bool
    """Whether the store's policy takes what it signs; if that takes anything, this user."""
    holds: bool
    """Whether the signature is good."""

    def __str__(self) -> str:
        if not self.holds:
            return f"{self.name or self.key} (the signature does not hold)"
        return f"{self.name or self.key} ({'trusted' if self.trusted else 'not trusted'})"


def signer_of(trust: Trust, digest: bytes, data: bytes, signature: bytes) -> Signer | None:
    """Return who signed an undamaged entry; None if nobody did.

    Raises
    ------
    TrustError
        If the keys that this user trusts cannot be read.
    """
    if not signature:
        return None
    known = [*keys.keys_in_file(), *keys.keys_in_environment()]
    own = keys.signing_key()
    if own is not None:
        known.insert(0, own.public)
    names = {key.raw: key.name for key in reversed(known)}
    raw = signature[:KEY_SIZE]
    believed = names.keys() if trust.keys is None else trust.keys
    return Signer(
        names.get(raw, ""),
        base64.b64encode(raw).decode(),
        raw in believed,
        keys.is_valid_signature(signature, statement(digest, data, signed=True)),
    )
