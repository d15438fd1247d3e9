"""The hashes of the format: domains, digest types and the tree hash of large data."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NewType

from invariant_dask.errors import SpecError

if TYPE_CHECKING:
    from typing_extensions import Buffer

PlannedDigest = NewType("PlannedDigest", bytes)
"""What was asked, with upstream nodes named by *their* planned digests (32 bytes)."""

ResolvedDigest = NewType("ResolvedDigest", bytes)
"""What was asked, with upstream nodes named by what they produced (32 bytes)."""

ArtifactHash = NewType("ArtifactHash", bytes)
"""What came out: the stable hash of a value (32 bytes)."""

BlobId = NewType("BlobId", bytes)
"""The tree hash of a run of bytes (32 bytes)."""

# A NUL ends each domain, so that no domain is the prefix of another one's input.
DOMAIN_VALUE = b"invariant-dask/v1/value\0"
DOMAIN_MANIFEST = b"invariant-dask/v1/manifest\0"
DOMAIN_BLOB = b"invariant-dask/v1/blob\0"
DOMAIN_ENTRY = b"invariant-dask/v1/entry\0"
DOMAIN_CODE = b"invariant-dask/v1/code\0"
DOMAIN_BUNDLE = b"invariant-dask/v1/bundle\0"
DOMAIN_SALT = b"invariant-dask/v1/salt\0"

LEAF_SIZE = 1 << 20
DIGEST_SIZE = 32

# Below this, starting threads costs more than they save.
_PARALLEL_FROM = 4 * LEAF_SIZE

sha256 = hashlib.sha256
_HEX = re.compile("[0-9a-f]{64}")


def blob_id(data: Buffer) -> BlobId:
    """Return the tree hash of a run of bytes, using all cores for large ones."""
    view = memoryview(data).cast("B")
    return blob_id_of_leaves(len(view), hash_leaves(view))


def hash_leaves(view: memoryview) -> list[bytes]:
    """Return the SHA-256 of each leaf of `view`; the last may be short, empty data has none."""
    if len(view) < _PARALLEL_FROM:
        return [_hash_leaf(view, start) for start in range(0, len(view), LEAF_SIZE)]
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        return list(pool.map(lambda at: _hash_leaf(view, at), range(0, len(view), LEAF_SIZE)))


def _hash_leaf(view: memoryview, start: int) -> bytes:
    return sha256(view[start : start + LEAF_SIZE]).digest()


def blob_id_of_leaves(length: int, leaves: Sequence[bytes]) -> BlobId:
    """Return the id of data whose leaf hashes are known, as when it was hashed while being read."""
    root = sha256(DOMAIN_BLOB + length.to_bytes(8, "big"))
    for leaf in leaves:
        root.update(leaf)
    return BlobId(root.digest())


def parse_hex(text: str) -> bytes:
    """Return the 32 bytes of a digest written as 64 lower-case hexadecimal digits.

    Raises
    ------
    SpecError
        If `text` is anything else.
    """
    # Not by fromhex alone, which skips spaces.
    if _HEX.fullmatch(text):
        return bytes.fromhex(text)
    msg = f"not a digest: {text!r} (expected 64 lower-case hexadecimal digits)"
    raise SpecError(msg)
