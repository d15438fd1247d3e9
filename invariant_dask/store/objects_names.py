"""Where an object store keeps what: the layout, version 1, below its prefix.

    LAYOUT                    JSON: {"layout": 1, "made_by": ...}; created once, before all else
    entries/ab/<62 hex>       an entry (`store.record`) under its digest
    blobs/ab/<62 hex>         a blob under its id
    blobs/ab/<62 hex>.zst     the same as a zstd frame: `store.compression`
    ops/<op>/<age>-<record>-<claim>
                              empty; says that an op has these entries, written before they are.
                              `age` makes the newest come first; `record` and `claim` are digests
                              in hexadecimal, of which one may be missing
    quarantine/<time>-<hex>.entry, .blob, .blob.zst
                              what was damaged, for a look, each with a report (JSON)
    namespaces/<name>/        a store of its own, with this layout
    tokens/<hex>              written by a client; a worker that sees it sees the same place
    pins/, roots/, leases/    of upkeep

Listing gives names in order, 1000 a request, so two hexadecimal digits make 256 lists that can be
read at once.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from invariant_dask.store.compression import SUFFIX
from invariant_dask.store.record import EntryRow

LAYOUT = 1

SHARDS = tuple(f"{number:02x}" for number in range(256))

_LAST = (1 << 64) - 1
_UNSAFE = re.compile(r"[^A-Za-z0-9_.]+")
_DIGEST = re.compile(r"(?:entries|blobs)/([0-9a-f]{2})/([0-9a-f]{62})")
_MARK = re.compile(r"ops/[^/]+/([0-9a-f]{16})-([0-9a-f]{64})?-([0-9a-f]{64})?")


def entry_name(digest: bytes) -> str:
    """Return where the entry of a digest is."""
    return _sharded("entries", digest)


def blob_name(blob: bytes) -> str:
    """Return where a blob is."""
    return _sharded("blobs", blob)


def frame_name(blob: bytes) -> str:
    """Return where a blob is if it is compressed."""
    return blob_name(blob) + SUFFIX


def is_frame(name: str) -> bool:
    """Return whether this is the name of a compressed blob."""
    return name.endswith(SUFFIX)


def _sharded(folder: str, digest: bytes) -> str:
    text = digest.hex()
    return f"{folder}/{text[:2]}/{text[2:]}"


def digest_of(name: str) -> bytes | None:
    """Return what an entry or blob is stored under; None if the name is not one of ours."""
    if name.startswith("blobs/"):
        name = name.removesuffix(SUFFIX)
    match = _DIGEST.fullmatch(name)
    return bytes.fromhex(match[1] + match[2]) if match else None


def op_folder(op: str) -> str:
    """Return where the marks of an op are."""
    # Different names may look the same once they are fit for a path.
    distinct = hashlib.sha256(op.encode(errors="backslashreplace")).hexdigest()[:8]
    return f"ops/{_UNSAFE.sub('-', op)[:80]}-{distinct}"


class Mark(NamedTuple):
    """A mark: an op has a record, a claim on it, or both."""

    created: int
    record: bytes | None
    claim: bytes | None

    def name(self, op: str) -> str:
        """Return the name of the object."""
        record, claim = (digest.hex() if digest else "" for digest in self[1:])
        return f"{op_folder(op)}/{_LAST - self.created:016x}-{record}-{claim}"


def parse_mark(name: str) -> Mark | None:
    """Return the mark that a name is; None if it is not one of ours."""
    match = _MARK.fullmatch(name)
    if match is None:
        return None
    record, claim = (bytes.fromhex(text) if text else None for text in match.groups()[1:])
    return Mark(_LAST - int(match[1], 16), record, claim)


# What a request costs beside reading one small object.
_LIST = 2.0
_LISTED = 1 / 50
_PAGE = 1000


def worth_listing(asked: int, missing: float, stored: float) -> bool:
    """Return whether reading all names is cheaper than asking for what is not there.

    Parameters
    ----------
    asked
        How many digests are left to look up.
    missing
        Which share of them seems not to be stored: what is stored is read anyhow.
    stored
        How many entries there seem to be.
    """
    pages = len(SHARDS) * max(1.0, stored / len(SHARDS) / _PAGE)
    return asked * missing > _LIST * pages + _LISTED * stored


def marks_of(rows: Sequence[EntryRow]) -> Iterator[str]:
    """Yield the names of the marks of entries."""
    claims = {row.target: row for row in rows if row.target is not None}
    for row in rows:
        if row.target is None:
            claim = claims.pop(row.digest, None)
            mark = Mark(row.created, row.digest, claim.digest if claim else None)
            yield mark.name(row.op)
    for row in claims.values():
        yield Mark(row.created, None, row.digest).name(row.op)
