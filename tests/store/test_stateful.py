"""Any sequence of operations leaves a store agreeing with a dictionary."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from unittest.mock import patch

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from invariant_dask.core.digest import BlobId, PlannedDigest
from invariant_dask.core.encode import encode
from invariant_dask.errors import ArtifactNotFoundError
from invariant_dask.store import About, DiskStore, MemoryStore, Record, Store, open_store
from invariant_dask.store.record import PlannedEntry, parse_entry
from invariant_dask.testing import damage_blob, damage_entry, sample_manifest, sample_planned

OPS = st.sampled_from(["op:a", "op:b"])
NUMBERS = st.integers(0, 3)
NAMES = st.sampled_from(["p", "q", "r"])
# By name, so that a failing sequence can be read; with few buffers, so that artifacts share blobs.
BUFFERS = {"x": b"x" * 40_000, "y": b"y" * 40_000}
BLOB_OF_ITS_OWN = list(range(20_000))
VALUES = st.one_of(
    st.integers(),
    st.text(max_size=5).map(lambda text: "text " + text),
    st.sampled_from(["x", "y", "blob of its own"]),
    st.lists(st.sampled_from(["x", "y", 1, "a"]), max_size=4),
)


def materialize(value: object) -> object:
    """Return the value that a drawn one stands for."""
    if isinstance(value, list):
        return [materialize(item) for item in value]
    if value == "blob of its own":
        return BLOB_OF_ITS_OWN
    return BUFFERS.get(value, value) if isinstance(value, str) else value


def planned_of(op: str, name: str) -> PlannedDigest:
    """Return a planned digest: it says which op, so no two ops ever ask by the same one."""
    return sample_planned(f"{op} {name}")


class StoreMachine(RuleBasedStateMachine):
    """The model: records, claims, and which blobs are gone or damaged."""

    def make(self) -> Store:
        raise NotImplementedError

    def __init__(self) -> None:
        super().__init__()
        self.store = self.make()
        self.records: dict[bytes, tuple[str, Record, object]] = {}
        self.claims: dict[bytes, tuple[str, bytes, bytes]] = {}
        self.gone: set[BlobId] = set()
        self.bad: set[BlobId] = set()
        self.past: dict[bytes, list[tuple[bytes, object]]] = {}
        """All that ever was under a digest, and its value."""

    def is_whole(self, record: Record) -> bool:
        return not any(blob in self.gone for blob, _ in record.parts)

    def expected(self, digest: bytes) -> tuple[Record, object] | None:
        """What a look-up must find; a claim counts if its record has the hash it speaks of."""
        if digest in self.claims:
            _, target, claimed = self.claims[digest]
            found = self.records.get(target)
            if found is None or found[1].hash != claimed:
                return None
        else:
            found = self.records.get(digest)
        if found is None or not self.is_whole(found[1]):
            return None
        return found[1], found[2]

    def drop_record(self, digest: bytes) -> None:
        """Whether claims on a record outlive it is the store's choice: forget them for good."""
        self.records.pop(digest, None)
        orphans = [planned for planned, claim in self.claims.items() if claim[1] == digest]
        for planned in orphans:
            del self.claims[planned]
            self.store.invalidate(planned)

    # --- operations ---

    @rule(op=OPS, n=NUMBERS, value=VALUES, name=st.none() | NAMES)
    def publish(self, op: str, n: int, value: object, name: str | None) -> None:
        planned = None if name is None else planned_of(op, name)
        value = materialize(value)
        record = self.store.publish(
            encode(value), sample_manifest(op, n=n), kind="any", about=About(op), planned=planned
        )
        self.keep(op, record, value, planned)

    def keep(self, op: str, record: Record, value: object, planned: bytes | None) -> None:
        """Note that an artifact is there, with all its blobs."""
        self.records[record.resolved] = (op, record, value)
        parts = {blob for blob, _ in record.parts}
        self.gone -= parts
        self.bad -= parts
        if planned is not None:
            self.claims[planned] = (op, record.resolved, record.hash)
        wanted = [record.resolved] if planned is None else [record.resolved, planned]
        for digest, row in self.store._read_entries(wanted).items():
            self.past.setdefault(digest, []).append((row, value))

    @precondition(lambda self: self.records)
    @rule(data=st.data(), name=NAMES)
    def claim(self, data: st.DataObject, name: str) -> None:
        op, record, _ = self.records[data.draw(st.sampled_from(sorted(self.records)))]
        self.store.claim(planned_of(op, name), record, [])
        self.claims[planned_of(op, name)] = (op, record.resolved, record.hash)

    @rule(op=OPS, n=NUMBERS, name=st.none() | NAMES)
    def get(self, op: str, n: int, name: str | None) -> None:
        digest = self.digest(op, n) if name is None else planned_of(op, name)
        expected = self.expected(digest)
        damaged = None
        if expected is not None:
            damaged = next((blob for blob, _ in expected[0].parts if blob in self.bad), None)
        try:
            value = self.store.get(digest)
        except ArtifactNotFoundError:
            assert expected is None or damaged is not None
            if damaged is not None:
                self.bad.discard(damaged)
                self.gone.add(damaged)
        else:
            assert expected is not None
            assert damaged is None
            assert value == expected[1]

    @rule(op=OPS, n=NUMBERS)
    def invalidate_record(self, op: str, n: int) -> None:
        digest = self.digest(op, n)
        self.store.invalidate(digest)
        self.drop_record(digest)

    @rule(op=OPS, name=NAMES)
    def invalidate_claim(self, op: str, name: str) -> None:
        planned = planned_of(op, name)
        count = self.store.invalidate(planned)
        claim = self.claims.pop(planned, None)
        assert bool(count) == (claim is not None)
        if claim is not None:
            self.drop_record(claim[1])

    @rule(op=OPS)
    def invalidate_op(self, op: str) -> None:
        count = self.store.invalidate(op)
        records = [digest for digest, found in self.records.items() if found[0] == op]
        claims = [planned for planned, claim in self.claims.items() if claim[0] == op]
        assert count == len(records) + len(claims)
        for planned in claims:
            del self.claims[planned]
        for digest in records:
            self.drop_record(digest)

    @precondition(lambda self: self.records)
    @rule(data=st.data())
    def damage_record(self, data: st.DataObject) -> None:
        digest = data.draw(st.sampled_from(sorted(self.records)))
        damage_entry(self.store, digest)
        assert not self.store.exists(digest)
        self.drop_record(digest)

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def damage_claim(self, data: st.DataObject) -> None:
        planned = data.draw(st.sampled_from(sorted(self.claims)))
        damage_entry(self.store, planned)
        assert not self.store.exists(planned)
        del self.claims[planned]

    def parts(self) -> list[tuple[BlobId, int]]:
        parts = {part for _, record, _ in self.records.values() for part in record.parts}
        return sorted(part for part in parts if part[0] not in self.gone | self.bad)

    @precondition(lambda self: self.parts())
    @rule(data=st.data())
    def lose_blob(self, data: st.DataObject) -> None:
        blob, _ = data.draw(st.sampled_from(self.parts()))
        self.store._quarantine_blob(blob)
        self.gone.add(blob)

    @rule()
    def close(self) -> None:
        self.store.close()

    @precondition(lambda self: self.past)
    @rule(data=st.data())
    def read_what_is_stale(self, data: st.DataObject) -> None:
        """Some entries are seen as they once were: a value that was there then, or none."""
        rows = {
            digest: data.draw(st.sampled_from([row for row, _ in self.past[digest]]))
            for digest in data.draw(st.sets(st.sampled_from(sorted(self.past)), min_size=1))
        }
        digest = data.draw(st.sampled_from(sorted(rows)))
        read = self.store._read_entries

        def stale(digests: list[bytes]) -> dict[bytes, bytes]:
            return {**read(digests), **{each: rows[each] for each in digests if each in rows}}

        with patch.object(self.store, "_read_entries", stale):
            try:
                value = self.store.get(digest)
            except ArtifactNotFoundError:
                value = None
        entry = parse_entry(digest, rows[digest])
        target = entry.resolved if isinstance(entry, PlannedEntry) else digest
        hashes = {encode(old).hash for _, old in self.past.get(target, [])}
        assert value is None or encode(value).hash in hashes
        if isinstance(entry, PlannedEntry):
            assert value is None or encode(value).hash == entry.hash
        # Reading may have found damaged blobs.
        there = self.store._has_blobs(self.parts_of_all())
        self.bad, self.gone = (
            {blob for blob in self.bad if blob in there},
            self.gone | {blob for blob in self.bad if blob not in there},
        )

    def parts_of_all(self) -> set[tuple[BlobId, int]]:
        return {part for _, record, _ in self.records.values() for part in record.parts}

    # --- what holds at any time ---

    @staticmethod
    def digest(op: str, n: int) -> bytes:
        from invariant_dask.core import manifest

        return manifest.digest(sample_manifest(op, n=n))

    @invariant()
    def look_up_agrees_with_the_model(self) -> None:
        digests = [self.digest(op, n) for op in ("op:a", "op:b") for n in range(4)]
        digests += [planned_of(op, name) for op in ("op:a", "op:b") for name in "pqr"]
        found = self.store.lookup(digests)
        for digest in digests:
            expected = self.expected(digest)
            assert (expected is None) == (digest not in found)
            if expected is not None:
                assert found[digest].record == expected[0]
                assert (found[digest].entry is None) == (digest not in self.claims)

    @invariant()
    def recent_agrees_with_the_model(self) -> None:
        for op in ("op:a", "op:b"):
            known = {digest for digest, found in self.records.items() if found[0] == op}
            assert {record.resolved for record in self.store.recent(op)} == known


class MemoryMachine(StoreMachine):
    """Without damage to blobs: an unused one is dropped or kept, so publishing may heal it."""

    def make(self) -> Store:
        return MemoryStore("unbounded")


class Killed(BaseException):
    """The process was killed here: it does nothing more."""


class LastingMachine(StoreMachine):
    """What others open again: with damage to blobs, which reading finds, and with crashes."""

    def open(self) -> Store:
        raise NotImplementedError

    def dying(self, step: int) -> Iterator[None]:
        """Die at the n-th thing that the back end writes, and write nothing any more."""
        raise NotImplementedError

    def make(self) -> Store:
        self.folder = Path(tempfile.mkdtemp())
        return self.open()

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = self.open()

    @rule(op=OPS, n=NUMBERS, value=VALUES, name=st.none() | NAMES, step=st.integers(0, 5))
    def die_while_publishing(
        self, op: str, n: int, value: object, name: str | None, step: int
    ) -> None:
        """What was there is there, or what was to be there; and never a part of either."""
        planned = None if name is None else planned_of(op, name)
        value = materialize(value)
        encoded = encode(value)
        with contextmanager(self.dying)(step), suppress(Killed):
            self.store.publish(
                encoded, sample_manifest(op, n=n), kind="any", about=About(op), planned=planned
            )
        self.store = self.open()
        digest = self.digest(op, n)
        data = self.store._read_entries([digest]).get(digest)
        record = None if data is None else parse_entry(digest, data)
        known = self.records.get(digest)
        written = known is None or record != known[1]
        if record is not None and written:
            assert isinstance(record, Record)
            assert record.hash == encoded.hash
            self.keep(op, record, value, None)
        else:
            assert record == (None if known is None else known[1])
        there = self.store._has_blobs(self.parts_of_all())
        self.gone -= there
        if planned is not None:
            self.look_at_claim(op, planned, digest, encoded.hash, written and record is not None)

    def look_at_claim(
        self, op: str, planned: bytes, resolved: bytes, hash_: bytes, written: bool
    ) -> None:
        data = self.store._read_entries([planned]).get(planned)
        if data is None:
            assert planned not in self.claims
            return
        entry = parse_entry(planned, data)
        assert isinstance(entry, PlannedEntry)
        old = self.claims.get(planned)
        if old is None or (entry.resolved, entry.hash) != old[1:]:
            assert written, "a claim comes after its record"
            assert (entry.resolved, entry.hash) == (resolved, hash_)
        if written and (entry.resolved, entry.hash) == (resolved, hash_):
            self.claims[planned] = (op, resolved, hash_)
        self.past.setdefault(planned, []).append((data, None))

    @precondition(lambda self: self.parts())
    @rule(data=st.data())
    def damage_blob(self, data: st.DataObject) -> None:
        blob, length = data.draw(st.sampled_from(self.parts()))
        damage_blob(self.store, blob, length)
        self.bad.add(blob)

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)


class DiskMachine(LastingMachine):
    def open(self) -> Store:
        return DiskStore(self.folder / "store")

    def dying(self, step: int) -> Iterator[None]:
        store, steps = self.store, iter(range(step))

        def or_die(write: Callable[..., object]) -> Callable[..., object]:
            def step_or_die(*args: object) -> object:
                if next(steps, None) is None:
                    raise Killed
                return write(*args)

            return step_or_die

        with (
            patch.object(store._blobs, "write", or_die(store._blobs.write)),
            patch.object(store, "_write_now", or_die(store._write_now)),
        ):
            yield


class ObjectMachine(LastingMachine):
    def open(self) -> Store:
        return open_store((self.folder / "store").as_uri())

    def dying(self, step: int) -> Iterator[None]:
        client, steps = self.store._client, iter(range(step))
        put_one = client.put_one

        async def put_or_die(name: str, data: bytes) -> None:
            if next(steps, None) is None:
                raise Killed
            await put_one(name, data)

        with patch.object(client, "put_one", put_or_die):
            yield


TestMemory = MemoryMachine.TestCase
TestDisk = DiskMachine.TestCase
TestFiles = ObjectMachine.TestCase
TestMemory.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestDisk.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
TestFiles.settings = settings(max_examples=20, stateful_step_count=30, deadline=None)
