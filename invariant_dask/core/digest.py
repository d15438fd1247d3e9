"""The hashes of the format: domains, digest types and the tree hash of large data."""

from __future__ import annotations

import hashlib
import os
import re
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
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
DOMAIN_SIGNED_RECORD = b"invariant-dask/v1/signed-record\0"
DOMAIN_SIGNED_PLANNED = b"invariant-dask/v1/signed-planned\0"
DOMAIN_CODE = b"invariant-dask/v1/code\0"
DOMAIN_BUNDLE = b"invariant-dask/v1/bundle\0"
DOMAIN_SALT = b"invariant-dask/v1/salt\0"
DOMAIN_GROWTH = b"invariant-dask/v1/growth\0"

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
    return each_leaf(len(view), lambda at: sha256(view[at : at + LEAF_SIZE]).digest())


def each_leaf(length: int, work: Callable[[int], bytes]) -> list[bytes]:
    """Return what `work` makes of the start of each leaf, using all cores if there are many.

    Leaves are begun in order. If `work` raises, the error is raised here once nothing runs.
    """
    starts = range(0, length, LEAF_SIZE)
    if length < _PARALLEL_FROM:
        return [work(start) for start in starts]
    done = [b""] * len(starts)
    todo = deque(enumerate(starts))

    def work_off() -> None:
        while todo:
            try:
                index, start = todo.popleft()
            except IndexError:  # another thread took the last one
                return
            done[index] = work(start)

    # This thread takes part: it need not be woken up, and one fewer has to start.
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        others: list[Future[None]] = []
        try:
            # The interpreter starts no threads while it ends; what is written then is hashed here.
            with suppress(RuntimeError):
                number = min(os.cpu_count() or 1, len(starts)) - 1
                others.extend(pool.submit(work_off) for _ in range(number))
            work_off()
        except BaseException:
            todo.clear()
            raise
        for other in others:
            other.result()
    return done


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
