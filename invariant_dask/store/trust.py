"""Whom a store believes: policies, what an entry's signature is worth, and what may be signed.

`any` takes every undamaged entry. `signed` takes those that carry a good signature by a key that
this user trusts: of the file of trusted keys, of the environment, of the store's options, and this
process's own key. A list of keys takes those and no others. What is not taken is a miss with a
reason, and what the run makes instead replaces it. A signature that does not hold is a miss too and
is not set aside: nobody can make a reader move anything by writing nonsense beside it.

A process also takes what it published itself from inputs that were vouched for, signed or not.

Who signs must know what it built on. Where a process has a private key, what it reads counts as
vouched for only if keys that it trusts signed it, under `any` too. What was made from anything else
is published without a signature, because a signed claim would pass the doubt on as a certainty.
"""

from __future__ import annotations

import base64
import os
import re
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from invariant_dask.core.digest import DIGEST_SIZE, sha256
from invariant_dask.errors import SpecError, TrustError
from invariant_dask.store import keys
from invariant_dask.store.keys import KEY_SIZE, PublicKey
from invariant_dask.store.record import statement

TRUST_VARIABLE = "INVARIANT_TRUST"
"""The environment variable with the policy of stores that are opened without one."""

UNSIGNED: Final = "untrusted: it is not signed"
BAD: Final = "damaged: its signature does not hold"

_NAMESPACE = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_REMEMBERED = 1 << 15

Policy = str | Sequence[str | PublicKey] | None


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose entries are taken: anybody's if `keys` is None, else those that one of them signed."""

    keys: frozenset[bytes] | None = None

    @property
    def is_any(self) -> bool:
        """Whether signatures are not looked at."""
        return self.keys is None

    def __str__(self) -> str:
        if self.keys is None:
            return "any"
        return "keys=" + ",".join(sorted(key.hex() for key in self.keys))

    @property
    def short(self) -> str:
        """The policy in a word or two: the keys by a hash of them all."""
        if self.keys is None:
            return "any"
        return f"signed:{sha256(str(self).encode()).hexdigest()[:12]}"

    def __reduce__(self) -> tuple[object, ...]:
        return Trust, (self.keys,)


ANY: Final = Trust()


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms a store is used; they travel with references to it."""

    trust: Trust = ANY
    max_artifact_size: int = 64 * 2**30
    """The most bytes that an artifact may claim to have; larger ones are neither read nor kept."""

    def __reduce__(self) -> tuple[object, ...]:
        return Terms, (self.trust, self.max_artifact_size)


DEFAULT_TERMS: Final = Terms()


def parse_trust(policy: Policy = None, trusted_keys: str | Sequence[str | PublicKey] = ()) -> Trust:
    """Return whom a policy believes, with the keys that this user trusts now.

    Parameters
    ----------
    policy
        `"any"`, `"signed"`, or the only keys to believe: a list of them, or `"keys="` and keys
        separated by commas. By default what `INVARIANT_TRUST` says, else `any`.
    trusted_keys
        Further keys for `"signed"`.

    Raises
    ------
    TrustError
        If it is nothing of that, or nobody could ever be believed.
    """
    if policy is None:
        policy = os.environ.get(TRUST_VARIABLE) or "any"
    if policy == "any":
        keys.parse_keys(trusted_keys)
        return ANY
    if policy == "signed":
        return Trust(_own_and_trusted(trusted_keys))
    if isinstance(policy, str):
        mark, equals, listed = policy.partition("=")
        if mark != "keys" or not equals:
            msg = f"trust={policy!r} is not any, signed, keys=NAME:BASE64,... or a list of keys"
            raise TrustError(msg)
        policy = listed
    if trusted_keys:
        raise TrustError("trusted_keys adds keys to trust='signed'; a list of keys stands alone")
    only = frozenset(key.raw for key in keys.parse_keys(policy))
    if not only:
        raise TrustError("trust is a list without keys: nothing could ever be believed")
    return Trust(only)


def _own_and_trusted(further: str | Sequence[str | PublicKey] = ()) -> frozenset[bytes]:
    found = [*keys.keys_in_file(), *keys.keys_in_environment(), *keys.parse_keys(further)]
    own = keys.signing_key()
    if own is not None:
        found.append(own.public)
    if not found:
        msg = (
            "trust='signed' without a key that is trusted: nothing could ever be believed; run "
            f"invariant-dask trusted-keys add, or set {keys.TRUSTED_VARIABLE}, or make a key of "
            "your own with invariant-dask keygen"
        )
        raise TrustError(msg)
    return frozenset(key.raw for key in found)


def check_namespace(name: object) -> None:
    """Raise SpecError if a name cannot be that of a part of a store."""
    if not (isinstance(name, str) and _NAMESPACE.fullmatch(name)):
        msg = f"namespace={name!r}: use lower-case letters, digits and . _ -, 64 at most"
        raise SpecError(msg)


class Judge:
    """Says what an entry's signature is worth under a policy, and remembers what it verified.

    Parameters
    ----------
    trust
        The policy.
    """

    def __init__(self, trust: Trust = ANY) -> None:
        self.trust = trust
        self._base: tuple[bytes, frozenset[bytes]] = b"", frozenset()
        self._own = _Remembered()

    def objection(self, digest: bytes, data: bytes, signature: bytes) -> str:
        """Return why an undamaged entry is not taken under the policy, or nothing if it is."""
        if self.trust.keys is None:
            return ""
        return self._objection(self.trust.keys, digest, data, signature)

    def vouching(self) -> frozenset[bytes] | None:
        """Return the keys of which one must have signed what a signer builds on.

        None in a process that signs nothing, under a policy that takes everything: there nobody
        looks, and nothing is vouched for.
        """
        if self.trust.keys is not None:
            return self.trust.keys
        own = keys.signing_key()
        if own is None:
            return None
        if self._base[0] != own.public.raw:
            self._base = own.public.raw, _own_and_trusted()
        return self._base[1]

    def vouches(self, entries: Iterable[tuple[bytes, bytes, bytes]]) -> bool:
        """Return whether all of some entries, taken under the policy, are vouched for."""
        if self.trust.keys is not None:
            return True  # otherwise they would not have been taken
        believed = self.vouching()
        return believed is not None and not any(self._objection(believed, *e) for e in entries)

    def _objection(
        self, believed: frozenset[bytes], digest: bytes, data: bytes, signature: bytes
    ) -> str:
        checksum = data[:DIGEST_SIZE]
        if checksum in self._own:
            return ""
        if not signature:
            return UNSIGNED
        key = signature[:KEY_SIZE]
        if key not in believed:
            return f"untrusted: it is signed by {base64.b64encode(key).decode()}"
        if checksum in _valid:
            return ""
        if not keys.is_valid_signature(signature, statement(digest, data, signed=True)):
            return BAD
        _valid.add(checksum)
        return ""

    def made_here(self, *entries: bytes) -> None:
        """Remember entries that this process publishes, made from what is vouched for."""
        if self.trust.keys is not None or keys.signing_key() is not None:
            for data in entries:
                self._own.add(data[:DIGEST_SIZE])

    def hand_over(self, other: Judge) -> None:
        """Let another one know what was published here."""
        self._own.copy_to(other._own)


class _Remembered:
    """The checksums of the entries that came last, up to a number.

    A checksum covers the digest, all fields and the signature, and was checked before it gets here.
    """

    def __init__(self, most: int = _REMEMBERED) -> None:
        self._most = most
        # No lock: each operation is one step for the interpreter, and a fork finds none held.
        self._known: OrderedDict[bytes, None] = OrderedDict()

    def __contains__(self, checksum: bytes) -> bool:
        return checksum in self._known

    def copy_to(self, other: _Remembered) -> None:
        for checksum in list(self._known):
            other.add(checksum)

    def add(self, checksum: bytes) -> None:
        self._known[checksum] = None
        if len(self._known) > self._most:
            self._known.popitem(last=False)


# Signatures that were found good, whoever asked; whether their keys are trusted is asked anew.
_valid = _Remembered()
