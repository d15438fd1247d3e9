"""Hostile entries, claims and blobs: mutations of good ones, half of them made consistent again."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from PIL import Image

from invariant_dask.core import cbor, types
from invariant_dask.core import encode as enc
from invariant_dask.core import manifest as manifests
from invariant_dask.core.digest import BlobId, ResolvedDigest, blob_id
from invariant_dask.core.scalars import encode_str
from invariant_dask.errors import InvariantError
from invariant_dask.store import About
from invariant_dask.store.file_artifacts import FileArtifact
from invariant_dask.store.record import (
    PlannedEntry,
    Record,
    _checksum,
    kind_of,
    planned_row,
)
from invariant_dask.testing import sample_manifest, sample_planned, sample_values

EXTREMES = [
    0, 1, -1, 2, 7, 255, 256, 32_768, 32_769, 2**16, 2**31 - 1, 2**31, 2**32, 2**33, 2**40,
    2**62, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**31), 10**30,
]  # fmt: skip
WORDS = ["", "x", "int64", "range", "numpy", "text", "../../etc/passwd", "Europe/Berlin", "RGBA"]
MOST_BYTES = 1 << 20
"""No sample is longer, so what reading one takes is bounded too."""


@dataclass
class Hostile:
    """What a stranger could have put into a store."""

    what: str
    digest: bytes
    data: bytes
    claim: bytes = b""
    """A planned entry under `PLANNED`, if there is one."""
    blobs: dict[BlobId, bytes] = field(default_factory=dict)


PLANNED = sample_planned("hostile")


def samples() -> dict[str, Any]:
    """Return values of all formats, none of them large."""
    rng = np.random.default_rng(0)
    series = pd.Series([1.5, None, 3.0], index=pd.date_range("2020", periods=3, tz="UTC"), name="s")
    frame = pd.DataFrame(
        {
            "a": [1, 2, 3],
            "b": ["x", None, "z"],
            "c": pd.Categorical(["u", "v", "u"]),
            "d": pd.array([1, None, 3], dtype="Int16"),
            "e": pd.period_range("2020-01", periods=3, freq="M"),
            "f": pd.interval_range(0, 3),
            "g": pd.array([1, None, 3], dtype="int64[pyarrow]"),
            "h": pd.array(["p", pd.NA, "q"], dtype="string"),
            "i": pd.date_range("2020", periods=3, tz="Europe/Berlin"),
            "j": np.array([1, b"x", None], dtype=object),
        }
    )
    pairs = pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64()))
    fixed = pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int16(), 2))
    table = pa.table({
        "n": [1, None, 3], "t": ["a", None, "ccc"], "l": [[1], None, [2, 3]], "f": fixed,
        "d": pa.array(["x", "y", "x"]).dictionary_encode(), "s": [{"q": 1}, None, {"q": 2}],
        "b": [True, None, False], "z": pa.nulls(3),
    })  # fmt: skip
    palette = Image.fromarray(rng.integers(0, 255, (8, 8, 3), "u1")).quantize(8)
    libraries = {
        "frame": frame,
        "multi": frame[["a"]].set_axis(pd.MultiIndex.from_product([["x"], [1, 2, 3]]), axis=0),
        "series": series,
        "index": pd.RangeIndex(3, name="i"),
        "table": table,
        "map": pairs,
        "batch": pa.record_batch({"x": [1, 2]}),
        "chunked": pa.chunked_array([["a"], ["b"]]),
        "image": Image.fromarray(rng.integers(0, 255, (8, 9, 3), "u1")),
        "palette": palette,
        "file": FileArtifact.of(b"content of a file", ".txt"),
        "large frame": pd.DataFrame({"x": np.arange(9000), "y": ["text"] * 9000}),
        "large image": Image.fromarray(rng.integers(0, 255, (200, 200, 3), "u1")),
        "large file": FileArtifact.of(bytes(40_000), ""),
    }
    own = {
        name: value
        for name, value in sample_values().items()
        if enc.encode(value).size <= MOST_BYTES
    }
    return {**own, **libraries}


@dataclass
class Sample:
    """A good artifact, in all its forms."""

    encoded: enc.Encoded
    record: Record
    claim: bytes
    format: tuple[str, str] | None
    tree: Any

    @classmethod
    def of(cls, name: str, value: Any) -> Sample:
        encoded = enc.encode(value)
        manifest = sample_manifest("hostile:op", name=name)
        record = record_of(manifest, encoded, kind_of(value))
        claim = claim_on(record)
        binding = types.binding_of(type(value)) if not isinstance(value, _PLAIN) else None
        if binding is None or binding.to_value is None:
            return cls(encoded, record, claim, None, value)
        return cls(
            encoded, record, claim, (binding.name, binding.identity), binding.to_value(value)
        )


_PLAIN = (type(None), int, str, bytes, tuple, list, dict, np.ndarray)


def record_of(manifest: bytes, encoded: enc.Encoded, kind: str) -> Record:
    """Return the record that a writer would write."""
    outside = len(encoded.storage) > enc.INLINE_LIMIT
    return Record(
        ResolvedDigest(manifests.digest(manifest)), manifest, encoded.descriptor, kind,
        encoded.size, None if outside else encoded.storage,
        (blob_id(encoded.storage), len(encoded.storage)) if outside else None,
        tuple(sorted((blob, len(data)) for blob, data in encoded.blobs.items())),
        About("hostile:op", created=1).to_bytes(),
    )  # fmt: skip


def claim_on(record: Record) -> bytes:
    about = About("hostile:op", created=1)
    return planned_row(PLANNED, record, record.hash, [(PLANNED, record.hash)], about).data


def blobs_of(encoded: enc.Encoded) -> dict[BlobId, bytes]:
    blobs = {blob: bytes(data) for blob, data in encoded.blobs.items()}
    if len(encoded.storage) > enc.INLINE_LIMIT:
        blobs[blob_id(encoded.storage)] = encoded.storage
    return blobs


class Forger:
    """Makes hostile things out of good ones, the same for each seed.

    Parameters
    ----------
    seed
        Of all choices.
    values
        Good values, by name.
    """

    def __init__(self, seed: int, values: Mapping[str, Any]) -> None:
        self.rng = random.Random(seed)
        self.samples = [Sample.of(name, value) for name, value in values.items()]
        self.number = 0

    def next(self) -> Hostile:
        self.number += 1
        make: Callable[[Sample], Hostile] = self.rng.choice([
            self.entry, self.manifest, self.fields, self.storage, self.blob, self.planned,
            self.values, self.values, self.values,
        ])  # fmt: skip
        sample = self.rng.choice(self.samples)
        if make == self.blob:
            sample = self.rng.choice([one for one in self.samples if one.encoded.blobs])
        return make(sample)

    # --- bytes ---

    def mutated(self, data: bytes) -> bytes:
        """Return other bytes: flipped, cut, longer, or mixed with another's."""
        rng, out = self.rng, bytearray(data)
        for _ in range(rng.choice([1, 1, 2, 4])):
            at = rng.randrange(len(out) + 1)
            kind = rng.randrange(6)
            if kind == 0 and at < len(out):
                out[at] ^= 1 << rng.randrange(8)
            elif kind == 1:
                del out[at:]
            elif kind == 2:
                out[at:at] = rng.randbytes(rng.choice([1, 4, 40]))
            elif kind == 3:
                width = rng.choice([1, 2, 4, 8])
                number = rng.choice(EXTREMES) % (1 << 8 * width)
                out[at : at + width] = number.to_bytes(width, "big")
            elif kind == 4:
                other = rng.choice(self.samples).record.to_bytes()
                out[at : at + 64] = other[at : at + 64]
            else:
                del out[at : at + rng.choice([1, 2, 8])]
        return bytes(out)

    def entry(self, sample: Sample) -> Hostile:
        """A record whose bytes changed; half of them have a checksum that holds."""
        data, digest = sample.record.to_bytes(), sample.record.resolved
        if self.rng.random() < 0.5:
            data = self.mutated(data)
        else:
            body = self.mutated(data[32:])
            data = _checksum(digest, body) + body
        return Hostile("entry", digest, data, sample.claim, blobs_of(sample.encoded))

    def manifest(self, sample: Sample) -> Hostile:
        """A record of a manifest that says something else, under the digest of that one."""
        manifest = self.mutated(sample.record.manifest)
        record = sample.record._replace(
            manifest=manifest, resolved=ResolvedDigest(manifests.digest(manifest))
        )
        return self.consistent("manifest", record, blobs_of(sample.encoded))

    def consistent(self, what: str, record: Record, blobs: dict[BlobId, bytes]) -> Hostile:
        return Hostile(what, record.resolved, record.to_bytes(), claim_on(record), blobs)

    def fields(self, sample: Sample) -> Hostile:
        """A record whose fields contradict each other."""
        record, rng = sample.record, self.rng
        other = rng.choice(self.samples).record
        change: dict[str, Any] = rng.choice([
            {"size": rng.choice(EXTREMES) % 2**64},
            {"descriptor": other.descriptor},
            {"descriptor": self.mutated(record.descriptor)[:128] or b"\xf6"},
            {"storage": other.storage, "storage_blob": other.storage_blob, "size": other.size},
            {"storage": None, "storage_blob": (blob_id(b""), rng.choice(EXTREMES) % 2**64)},
            {"blobs": other.blobs},
            {"blobs": tuple((blob, rng.choice(EXTREMES) % 2**64) for blob, _ in record.blobs)},
            {"blobs": record.blobs * 3},
            {"about_bytes": self.mutated(record.about_bytes)},
        ])  # fmt: skip
        record = record._replace(**change)
        if rng.random() < 0.5:
            stored = record.storage_blob[1] if record.storage_blob else len(record.storage or b"")
            record = record._replace(size=(stored + sum(n for _, n in record.blobs)) % 2**64)
        return self.consistent("fields", record, blobs_of(sample.encoded))

    def storage(self, sample: Sample) -> Hostile:
        """A storage form that is damaged, with the hash of the damaged one."""
        storage = self.mutated(sample.encoded.storage) or b"\xf6"
        return self.stored("storage", sample, storage, sample.encoded.blobs)

    def stored(
        self, what: str, sample: Sample, storage: bytes, blobs: Mapping[BlobId, Any]
    ) -> Hostile:
        hostile = enc.Encoded(storage, storage, dict(blobs))
        if self.rng.random() < 0.2:
            hostile.identity = sample.encoded.identity
        manifest = sample_manifest("hostile:op", number=self.number)
        return self.consistent(what, record_of(manifest, hostile, "any"), blobs_of(hostile))

    # --- what is in blobs ---

    def blob(self, sample: Sample) -> Hostile:
        """A blob that changed; half of them under an id that is right, which others refer to."""
        blobs = {blob: bytes(data) for blob, data in sample.encoded.blobs.items()}
        name = self.rng.choice(sorted(blobs))
        good, bad = blobs[name], self.mutated(blobs[name])
        if self.rng.random() < 0.5 or len(bad) <= enc.INLINE_LIMIT:
            record = sample.record
            return self.consistent("blob", record, {**blobs_of(sample.encoded), name: bad})
        del blobs[name]
        blobs[blob_id(bad)] = bad
        storage = sample.encoded.storage.replace(
            enc.blob_reference(len(good), name), enc.blob_reference(len(bad), blob_id(bad))
        )
        return self.stored("blob", sample, storage, blobs)

    # --- claims ---

    def planned(self, sample: Sample) -> Hostile:
        """A claim that is damaged, or claims something else."""
        rng, data = self.rng, sample.claim
        kind = rng.randrange(3)
        if kind == 0:
            data = self.mutated(data)
        elif kind == 1:
            body = self.mutated(data[32:])
            data = _checksum(PLANNED, body) + body
        else:
            entry = PlannedEntry.from_bytes(PLANNED, data)
            other = rng.choice(self.samples).record
            change: dict[str, Any] = rng.choice([
                {"resolved": PLANNED}, {"resolved": other.resolved}, {"hash": other.hash},
                {"joined": entry.joined * 500}, {"joined": rng.randbytes(64)},
                {"created": rng.choice(EXTREMES) % 2**64},
            ])  # fmt: skip
            data = entry._replace(**change).to_bytes()
        record = sample.record
        blobs = blobs_of(sample.encoded)
        return Hostile("planned", record.resolved, record.to_bytes(), data, blobs)

    # --- values ---

    def values(self, sample: Sample) -> Hostile:
        """A value that is encoded well and makes no sense, most of all to its library."""
        tree = self.other(sample.tree)
        for _ in range(self.rng.choice([0, 0, 1, 2])):
            tree = self.other(tree)
        try:
            inner = enc.encode(tree)
        except InvariantError:
            return self.storage(sample)
        storage = inner.storage
        if sample.format is not None:
            name, identity = sample.format
            head = cbor.tagged(cbor.TAG_FIELDS, 3) + encode_str(name) + encode_str(identity)
            storage = head + storage
        return self.stored("values", sample, storage, inner.blobs)

    def other(self, tree: Any) -> Any:
        """Return a tree with something else at one place."""
        rng = self.rng
        if isinstance(tree, dict) and tree and rng.random() < 0.85:
            key = rng.choice(sorted(tree))
            if rng.random() < 0.1:
                return {name: item for name, item in tree.items() if name != key}
            return {**tree, key: self.other(tree[key])}
        if isinstance(tree, list | tuple) and len(tree) and rng.random() < 0.85:
            items, at = list(tree), rng.randrange(min(len(tree), 50))
            kind = rng.randrange(12)
            if kind == 0:
                del items[at]
            elif kind == 1:
                items.insert(at, items[rng.randrange(len(items))])
            elif kind == 2:
                items[at] = items[rng.randrange(len(items))]
            else:
                items[at] = self.other(items[at])
            return items if isinstance(tree, list) else tuple(items)
        if isinstance(tree, np.ndarray) and rng.random() < 0.8:
            return self.other_array(tree)
        return self.leaf(tree)

    def leaf(self, tree: Any) -> Any:
        rng = self.rng
        if type(tree) is int and rng.random() < 0.8:
            return rng.choice([*EXTREMES, tree + 1, tree - 1])
        if type(tree) is bool and rng.random() < 0.8:
            return not tree
        if type(tree) is str and rng.random() < 0.5:
            return rng.choice(WORDS)
        if type(tree) is bytes and rng.random() < 0.8:
            return self.mutated(tree)
        if rng.random() < 0.3:
            # A part of another value: of the right kind, perhaps, at the wrong place.
            return self.part_of(rng.choice(self.samples).tree)
        return rng.choice([
            None, True, *WORDS, *EXTREMES, b"", [], {}, [[]], ["range", [None], 0, 2**40, 1],
            np.arange(3), np.empty((2**40, 0)), np.empty((0,), "S5"), np.array(5), ["null"],
        ])  # fmt: skip

    def part_of(self, tree: Any) -> Any:
        while isinstance(tree, list | tuple | dict) and len(tree) and self.rng.random() < 0.7:
            tree = self.rng.choice(list(tree.values() if isinstance(tree, dict) else tree[:50]))
        return tree

    def other_array(self, array: np.ndarray[Any, Any]) -> Any:
        rng = self.rng
        kind = rng.randrange(7)
        if kind == 0 and array.size and array.dtype.kind in "iu":
            array = array.copy()
            top = np.iinfo(array.dtype).max
            array.reshape(-1)[rng.randrange(array.size)] = rng.choice([0, 1, top, top // 2])
            return array
        if kind == 1:
            return array[: rng.randrange(len(array) + 1)] if array.ndim else array
        if kind == 2:
            return np.concatenate([array.reshape(-1)] * 2)
        if kind == 3:
            return array.reshape(-1, 1)
        if kind == 4 and array.dtype.kind in "iufb":
            return array.astype(rng.choice(["i1", "u2", "i8", "f4", "?", "S3", "U2"]))
        if kind == 5:
            return array.reshape(-1)[:1].reshape(()) if array.size else np.array(7)
        return np.empty((rng.choice([2**33, 2**40]), 0), array.dtype)
