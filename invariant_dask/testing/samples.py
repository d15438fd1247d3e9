"""Sample manifests and values, and ways to damage what a store keeps."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from invariant_dask.core import manifest as manifests
from invariant_dask.core.digest import BlobId, PlannedDigest
from invariant_dask.core.encode import describe, encode
from invariant_dask.core.scalars import encode_str
from invariant_dask.store.base import Store
from invariant_dask.store.record import EntryRow, PlannedEntry, parse_entry


def sample_manifest(op: str = "sample:op", **params: object) -> bytes:
    """Return the manifest of an op of version 1 with these parameters."""
    fields = sorted((encode_str(name), describe(value)) for name, value in params.items())
    return manifests.assemble(encode([op, "version", "1", {}]).identity, fields)


def sample_planned(name: str) -> PlannedDigest:
    """Return a planned digest that is no resolved one."""
    return PlannedDigest(manifests.digest(sample_manifest("sample:planned", name=name)))


def sample_values() -> dict[str, Any]:
    """Return values of every kind of storage: inline, with blobs, and as a blob themselves."""
    import numpy as np

    big = np.arange(20_000, dtype="<i8").reshape(200, 100)
    return {
        "none": None,
        "int": 2**70,
        "decimal": Decimal("1.00"),
        "tuple": (1, "one", b"1"),
        "empty bytes": b"",
        "bytes at the limit": b"l" * 32_768,
        "bytes above the limit": b"l" * 32_769,
        "a mebibyte": bytes(range(256)) * 4096,
        "three mebibytes and one": b"\x07" * (3 * 2**20 + 1),
        "small array": np.arange(5, dtype="<f4"),
        "array": big,
        "array in columns": np.asfortranarray(big),
        "empty array": np.empty((0, 3), dtype="<f8"),
        "nested": {"layers": [{"pixels": big, "name": "a"}, {"pixels": big + 1, "name": "b"}]},
        "one buffer twice": [big, big],
        "long list": list(range(30_000)),
        "long list with blobs": [*range(30_000), big],
    }


def damage_entry(store: Store, digest: bytes) -> None:
    """Flip a bit of what is stored under a digest, behind the back of a store."""
    data = store._read_entries([digest])[digest]  # noqa: SLF001
    entry = parse_entry(digest, data)
    target = entry.resolved if isinstance(entry, PlannedEntry) else None
    bad = data[:-1] + bytes((data[-1] ^ 1,))
    store._write_entries([EntryRow(digest, bad, "sample:op", 0, target)])  # noqa: SLF001


def damage_blob(store: Store, blob: BlobId, length: int) -> None:
    """Flip a bit of a blob, behind the back of a store."""
    data = store._read_blob(blob, length)  # noqa: SLF001
    assert data is not None
    bad = bytearray(data)
    bad[length // 2] ^= 1
    store._quarantine_blob(blob)  # noqa: SLF001
    store._write_blobs({blob: bytes(bad)})  # noqa: SLF001
