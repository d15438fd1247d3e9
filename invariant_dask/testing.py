"""The shipped test kit: what every store must do, and wrappers that watch a real one.

Put a store of your own to the test by a subclass in a pytest module; pytest itself is not
imported here:

    class TestMyStore(StoreContract):
        def make_store(self, tmp_path):
            return MyStore(tmp_path / "store")
"""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from invariant_dask.core import manifest as manifests
from invariant_dask.core.digest import ArtifactHash, BlobId, PlannedDigest, ResolvedDigest
from invariant_dask.core.encode import Encoded, describe, encode, stable_hash
from invariant_dask.core.scalars import encode_str
from invariant_dask.errors import (
    ArtifactLostError,
    ArtifactNotFoundError,
    InvariantError,
    NotCacheableError,
)
from invariant_dask.store.about import About
from invariant_dask.store.backend import StoreStats
from invariant_dask.store.base import Store, StoreRef, register_live
from invariant_dask.store.record import EntryRow, Found, PlannedEntry, Record, parse_entry

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "CountingStore",
    "StoreBasics",
    "StoreContract",
    "damage_blob",
    "damage_entry",
    "sample_manifest",
    "sample_values",
]

E = TypeVar("E", bound=BaseException)


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


def _raises(expected: type[E], function: Callable[..., Any], *args: Any) -> E:
    try:
        function(*args)
    except expected as error:
        return error
    msg = f"{function} did not raise {expected.__name__}"
    raise AssertionError(msg)


class StoreBasics:
    """What every store promises, even one that keeps nothing."""

    def make_store(self, tmp_path: Path) -> Store:
        """Return a new, empty store; `tmp_path` is a folder of its own for each test."""
        raise NotImplementedError

    def test_absent_digest_is_a_miss_and_a_key_error(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        absent = manifests.digest(sample_manifest(n=0))
        assert store.lookup([absent]) == {}
        assert not store.exists(absent)
        error = _raises(ArtifactNotFoundError, store.get, absent)
        assert isinstance(error, KeyError)
        assert error.digest == absent.hex()

    def test_looking_up_nothing_finds_nothing(self, tmp_path: Path) -> None:
        assert self.make_store(tmp_path).lookup([]) == {}

    def test_value_without_canonical_form_is_a_type_error(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        error = _raises(NotCacheableError, store.put, sample_manifest(), {"a": {1, 2}})
        assert isinstance(error, TypeError)
        assert error.path == "$.a"
        assert not store.exists(manifests.digest(sample_manifest()))

    def test_bytes_that_are_no_manifest_are_refused(self, tmp_path: Path) -> None:
        _raises(InvariantError, self.make_store(tmp_path).put, b"not a manifest", 1)

    def test_text_that_is_no_digest_is_refused(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        _raises(InvariantError, store.get, "abc")
        _raises(InvariantError, store.get, b"abc")

    def test_put_returns_a_record_of_what_came_out(self, tmp_path: Path) -> None:
        record = self.make_store(tmp_path).put(sample_manifest(n=1), [1, 2])
        assert record.resolved == manifests.digest(sample_manifest(n=1))
        assert record.hash == stable_hash([1, 2])
        assert (record.kind, record.about.op) == ("list", "sample:op")

    def test_reference_is_small_survives_pickling_and_opens_the_store(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        data = pickle.dumps(store.ref())
        assert len(data) < 1000
        ref = pickle.loads(data)  # noqa: S301
        assert isinstance(ref, StoreRef)
        assert ref == store.ref()
        assert ref.open() is store
        assert pickle.loads(pickle.dumps(store)) is store  # noqa: S301

    def test_blob_that_is_not_there_is_none(self, tmp_path: Path) -> None:
        assert self.make_store(tmp_path).read_blob(BlobId(bytes(32)), 40_000) is None

    def test_invalidating_what_is_not_there_forgets_nothing(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        assert store.invalidate("no:op") == 0
        assert store.invalidate(bytes(32)) == 0
        assert store.invalidate("op-" + "0" * 64) == 0

    def test_statistics_start_at_zero_and_can_be_reset(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        assert store.stats == StoreStats()
        store.lookup([bytes(32)])
        store.put(sample_manifest(n=1), 1)
        assert (store.stats.misses, store.stats.puts) == (1, 1)
        store.reset_stats()
        assert store.stats == StoreStats()

    def test_closing_twice_is_fine_and_using_it_again_too(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        store.close()
        store.close()
        store.put(sample_manifest(), 1)
        assert store.lookup([bytes(32)]) == {}


class StoreContract(StoreBasics):
    """What every store that keeps things promises."""

    def damage_entry(self, store: Store, digest: bytes) -> None:
        """Change stored bytes of an entry; override to do so below the store."""
        damage_entry(store, digest)

    def damage_blob(self, store: Store, blob: BlobId, length: int) -> None:
        """Change stored bytes of a blob; override to do so below the store."""
        damage_blob(store, blob, length)

    def delete_blob(self, store: Store, blob: BlobId) -> None:
        """Remove a blob; override to do so below the store."""
        store._quarantine_blob(blob)  # noqa: SLF001

    def copy_entry(self, store: Store, source: bytes, target: bytes) -> None:
        """Store the bytes of one entry under the digest of another."""
        data = store._read_entries([source])[source]  # noqa: SLF001
        store._write_entries([EntryRow(target, data, "sample:op", 0, None)])  # noqa: SLF001

    # --- what goes in comes out ---

    def test_values_of_every_kind_come_back(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        for name, value in sample_values().items():
            record = store.put(sample_manifest(name=name), value)
            back = store.get(record.resolved)
            assert stable_hash(back) == stable_hash(value) == record.hash, name
            assert encode(back).storage == encode(value).storage, name

    def test_get_takes_raw_and_hexadecimal_digests_and_dask_keys(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        digest = store.put(sample_manifest(), "x").resolved
        assert (
            store.get(digest) == store.get(digest.hex()) == store.get(f"op-{digest.hex()}") == "x"
        )

    def test_record_says_what_was_asked_and_what_explains_it(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        about = About("sample:op", "node", "run", "writer", 1234, 5678)
        manifest = sample_manifest(n=1)
        made = store.publish(encode([1]), manifest, kind="list", about=about)
        record = store.lookup([made.resolved])[made.resolved].record
        assert record == made
        assert record.manifest == manifest
        assert record.about == about
        assert record.descriptor == describe([1])

    def test_finished_values_refuse_to_change(self, tmp_path: Path) -> None:
        import numpy as np

        store = self.make_store(tmp_path)
        value = {"list": [1], "array": np.zeros(10_000)}
        sealed = store.get(store.put(sample_manifest(), value).resolved)
        _raises(TypeError, sealed["list"].append, 2)
        _raises(TypeError, sealed.update, {})
        _raises(ValueError, sealed["array"].__setitem__, 0, 1.0)
        _raises(ValueError, sealed["array"].setflags, True)

    def test_what_the_caller_changes_later_is_not_stored(self, tmp_path: Path) -> None:
        import numpy as np

        store = self.make_store(tmp_path)
        array, items = np.zeros(10_000), [1]
        digest = store.put(sample_manifest(), [array, items]).resolved
        array[:] = 7
        items.append(2)
        back = store.get(digest)
        assert not back[0].any()
        assert back[1] == [1]

    def test_publishing_again_replaces(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        store.put(sample_manifest(), b"a" * 40_000)
        digest = store.put(sample_manifest(), b"b" * 40_000).resolved
        assert store.get(digest) == b"b" * 40_000

    def test_one_batch_answers_many(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        with store.grouping():
            known = [bytes(store.put(sample_manifest(n=n), n).resolved) for n in range(700)]
        absent = [manifests.digest(sample_manifest(n=n)) for n in range(700, 1400)]
        found = store.lookup(known + absent + known)
        assert list(found) == known
        assert found[known[3]].record.descriptor == describe(3)

    # --- planned entries ---

    def publish_planned(
        self, store: Store, name: str, value: object
    ) -> tuple[PlannedDigest, Record]:
        """Publish a value under a planned digest and its resolved one."""
        planned = sample_planned(name)
        inputs = [(sample_planned("input"), stable_hash(0))]
        record = store.publish(
            encode(value), sample_manifest(name=name), kind="list",
            about=About("sample:op", writer="w"), planned=planned, inputs=inputs,
        )  # fmt: skip
        return planned, record

    def test_planned_digest_leads_to_the_record(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        planned, record = self.publish_planned(store, "a", [1])
        found = store.lookup([planned, record.resolved])
        assert found[planned].record == found[record.resolved].record == record
        assert found[record.resolved].entry is None
        entry = found[planned].entry
        assert entry is not None
        assert (entry.planned, entry.resolved) == (planned, record.resolved)
        assert (entry.hash, entry.writer) == (record.hash, "w")
        assert entry.inputs == ((sample_planned("input"), stable_hash(0)),)
        assert store.get(planned) == [1]

    def test_equal_digests_have_one_entry(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        manifest = sample_manifest(n=1)
        planned = PlannedDigest(manifests.digest(manifest))
        store.publish(encode(1), manifest, kind="int", about=About("op"), planned=planned)
        assert store.lookup([planned])[planned].entry is None
        assert store.invalidate(planned) == 1

    def test_claim_connects_a_planned_digest_with_a_stored_record(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        record = store.put(sample_manifest(), 5)
        store.claim(sample_planned("late"), record, [], writer="me")
        found = store.lookup([sample_planned("late")])[sample_planned("late")]
        assert found.record == record
        assert found.entry is not None
        assert found.entry.writer == "me"

    def test_claim_about_another_result_is_void(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        planned, record = self.publish_planned(store, "a", [1])
        store.put(record.manifest, [2])
        assert store.lookup([planned, record.resolved]).keys() == {record.resolved}

    # --- loss and damage ---

    def test_record_whose_blob_is_gone_is_a_miss_until_it_is_written_again(
        self, tmp_path: Path
    ) -> None:
        store = self.make_store(tmp_path)
        for value in (b"x" * 40_000, list(range(30_000))):
            record = store.put(sample_manifest(), value)
            self.delete_blob(store, record.parts[0][0])
            assert not store.exists(record.resolved)
            assert store.why(record.resolved).startswith("lost: ")
            _raises(ArtifactNotFoundError, store.get, record.resolved)
            _raises(ArtifactLostError, store.fetch, record)
            store.put(sample_manifest(), value)
            assert store.get(record.resolved) == value

    def test_damaged_blob_is_set_aside_and_never_seen(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        for value in (b"x" * 40_000, list(range(30_000)), b"y" * 3_000_000):
            record = store.put(sample_manifest(), value)
            store.reset_stats()
            self.damage_blob(store, *record.parts[0])
            error = _raises(ArtifactLostError, store.fetch, record)
            assert isinstance(error, LookupError)
            assert store.stats.quarantined == 1
            assert not store.exists(record.resolved)
            store.put(sample_manifest(), value)
            assert store.get(record.resolved) == value

    def test_damaged_entry_is_set_aside_and_a_miss(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        planned, record = self.publish_planned(store, "a", [1])
        self.damage_entry(store, planned)
        assert store.lookup([planned, record.resolved]).keys() == {record.resolved}
        assert store.stats.quarantined == 1
        assert store.why(planned).startswith("damaged: ")
        assert store.why(record.resolved) == ""
        self.damage_entry(store, record.resolved)
        assert not store.exists(record.resolved)
        assert store.stats.quarantined == 2
        assert store.lookup([planned, record.resolved]) == {}
        assert store.stats.quarantined == 2, "what was set aside is not found again"
        self.publish_planned(store, "a", [1])
        assert store.get(planned) == [1]

    def test_entry_under_the_digest_of_another_is_refused(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        first = store.put(sample_manifest(n=1), "first")
        second = store.put(sample_manifest(n=2), "second")
        self.copy_entry(store, first.resolved, second.resolved)
        assert store.lookup([first.resolved, second.resolved]).keys() == {first.resolved}
        assert store.stats.quarantined == 1

    def test_record_with_the_bytes_of_another_value_is_refused(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        forged = Encoded(encode([1]).identity, encode([2]).storage, {})
        record = store.publish(forged, sample_manifest(), kind="list", about=About("sample:op"))
        _raises(ArtifactLostError, store.fetch, record)
        assert not store.exists(record.resolved)

    def test_record_that_hides_a_blob_is_refused(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        whole = encode([b"x" * 40_000])
        forged = Encoded(whole.identity, whole.storage, {})
        record = store.publish(forged, sample_manifest(), kind="list", about=About("sample:op"))
        _raises(ArtifactLostError, store.fetch, record)

    # --- blobs ---

    def test_blob_without_a_record_comes_back(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        for data in (b"", b"small", b"x" * 2_000_000):
            blob = store.write_blob(data)
            back = store.read_blob(blob, len(data))
            assert back is not None
            assert bytes(back) == data
            assert memoryview(back).readonly

    def test_damaged_blob_without_a_record_is_none(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        blob = store.write_blob(b"x" * 40_000)
        self.damage_blob(store, blob, 40_000)
        assert store.read_blob(blob, 40_000) is None
        assert store.stats.quarantined == 1

    # --- forgetting ---

    def test_invalidating_an_op_forgets_its_entries_only(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        planned, record = self.publish_planned(store, "a", [1])
        other = store.put(sample_manifest("other:op"), 1)
        assert store.invalidate("sample:op") == 2
        found = store.lookup([planned, record.resolved, other.resolved])
        assert found.keys() == {other.resolved}
        assert store.invalidate("sample:op") == 0

    def test_invalidating_a_planned_digest_forgets_its_record_too(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        for form in (bytes, bytes.hex, lambda d: f"op-{d.hex()}"):
            planned, record = self.publish_planned(store, "a", [1])
            kept = store.put(sample_manifest(n=1), 1)
            assert store.invalidate(form(planned)) == 2
            found = store.lookup([planned, record.resolved, kept.resolved])
            assert found.keys() == {kept.resolved}

    def test_invalidating_a_resolved_digest_leaves_claims_that_find_nothing(
        self, tmp_path: Path
    ) -> None:
        store = self.make_store(tmp_path)
        planned, record = self.publish_planned(store, "a", [1])
        assert store.invalidate(record.resolved) >= 1
        assert store.lookup([planned, record.resolved]) == {}

    # --- explaining ---

    def test_recent_records_of_an_op_come_newest_first(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        for n in (3, 1, 2):
            about = About("sample:op", f"node{n}", created=n)
            store.publish(encode(n), sample_manifest(n=n), kind="int", about=about)
        self.publish_planned(store, "a", [1])  # created now; its claim is no record
        store.put(sample_manifest("other:op"), 1)
        nodes = [record.about.node for record in store.recent("sample:op")]
        assert nodes == ["", "node3", "node2", "node1"]
        assert len(store.recent("sample:op", limit=2)) == 2
        assert store.recent("unknown:op") == []

    # --- many at once ---

    def test_what_is_published_in_a_group_is_seen_at_once_and_stays(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        with store.grouping():
            digests = [store.put(sample_manifest(n=n), n).resolved for n in range(20)]
            assert store.lookup(digests).keys() == set(digests)
            assert store.invalidate(digests[0]) == 1
        assert store.lookup(digests).keys() == set(digests[1:])
        assert [store.get(digest) for digest in digests[1:]] == list(range(1, 20))

    def test_threads_may_write_and_read_the_same_digest(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        value = [b"x" * 40_000, list(range(1000))]
        barrier = threading.Barrier(8)

        def work(_: int) -> bool:
            barrier.wait()
            digest = store.put(sample_manifest(), value).resolved
            return bool(store.get(digest) == value)

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(work, range(8)))

    def test_threads_may_write_and_read_different_digests(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        barrier = threading.Barrier(8)

        def work(thread: int) -> None:
            barrier.wait()
            for n in range(20):
                value = [thread, n, bytes((thread, n)) * 20_000]
                digest = store.put(sample_manifest(thread=thread, n=n), value).resolved
                assert store.get(digest) == value

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))
        assert store.stats.puts == 160
        assert len(store.recent("sample:op", limit=1000)) == 160

    def test_statistics_count_what_was_done(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        record = store.put(sample_manifest(), b"x" * 40_000)
        store.lookup([record.resolved, bytes(32)])
        store.fetch(record)
        stats = store.stats
        assert (stats.hits, stats.misses, stats.puts, stats.fetches) == (1, 1, 1, 1)
        assert stats.bytes_read == record.size
        assert stats.bytes_written > 40_000


class CountingStore(Store):
    """Forwards to a real store and notes which digests it was asked for.

    In this process a reference to the wrapped store opens this one, so that what tasks do is
    counted too; processes elsewhere use the wrapped store directly.
    """

    kind = "counting"

    def __init__(self, inner: Store) -> None:
        super().__init__(inner.terms)
        self.inner = inner
        self.lookups: list[tuple[bytes, ...]] = []
        """The digests of each look-up."""
        self.published: list[bytes] = []
        """Resolved digests, in order of publication."""
        self.claimed: list[bytes] = []
        """Planned digests that were claimed for a stored record."""
        self.fetched: list[bytes] = []
        """Resolved digests of the artifacts that were read."""

    @property
    def looked_up(self) -> list[bytes]:
        """All digests that were looked up, in order."""
        return [digest for batch in self.lookups for digest in batch]

    def forget(self) -> None:
        """Start counting anew."""
        for notes in (self.lookups, self.published, self.claimed, self.fetched):
            notes.clear()

    @property
    def url(self) -> str:
        """That of the wrapped store."""
        return self.inner.url

    @property
    def place(self) -> str:
        """That of the wrapped store."""
        return self.inner.place

    @property
    def is_process_local(self) -> bool:
        """That of the wrapped store."""
        return self.inner.is_process_local

    @property
    def stats(self) -> StoreStats:
        """That of the wrapped store."""
        return self.inner.stats

    def reset_stats(self) -> None:
        self.inner.reset_stats()

    def ref(self) -> StoreRef:
        ref = self.inner.ref()
        register_live(ref.token, self)
        return replace(ref, live=self)

    def close(self) -> None:
        self.inner.close()

    def lookup(self, digests: Iterable[bytes]) -> dict[bytes, Found]:
        asked = tuple(digests)
        self.lookups.append(asked)
        return self.inner.lookup(asked)

    def publish(
        self,
        encoded: Encoded,
        manifest: bytes,
        *,
        kind: str,
        about: About,
        planned: PlannedDigest | None = None,
        inputs: Sequence[tuple[PlannedDigest, ArtifactHash]] = (),
        resolved: ResolvedDigest | None = None,
        vouched: bool = True,
    ) -> Record:
        record = self.inner.publish(
            encoded, manifest, kind=kind, about=about,
            planned=planned, inputs=inputs, resolved=resolved, vouched=vouched,
        )  # fmt: skip
        self.published.append(record.resolved)
        return record

    def claim(
        self,
        planned: PlannedDigest,
        record: Record,
        inputs: Sequence[tuple[PlannedDigest, ArtifactHash]],
        writer: str = "",
        *,
        vouched: bool = True,
    ) -> None:
        self.claimed.append(planned)
        self.inner.claim(planned, record, inputs, writer, vouched=vouched)

    def why(self, digest: bytes | str) -> str:
        return self.inner.why(digest)

    def note_loss(self, digest: bytes, reason: str) -> None:
        self.inner.note_loss(digest, reason)

    def fetch(self, record: Record) -> tuple[bytes, dict[BlobId, Buffer]]:
        self.fetched.append(record.resolved)
        return self.inner.fetch(record)

    def write_blob(self, data: Buffer) -> BlobId:
        return self.inner.write_blob(data)

    def read_blob(self, blob: BlobId, length: int) -> Buffer | None:
        return self.inner.read_blob(blob, length)

    def recent(self, op: str, limit: int = 50) -> list[Record]:
        return self.inner.recent(op, limit)

    def invalidate(self, what: str | bytes) -> int:
        return self.inner.invalidate(what)

    def grouping(self) -> AbstractContextManager[None]:
        return self.inner.grouping()

    # What is inherited reaches the wrapped store's bytes through these.

    def _token(self) -> str:
        return self.inner._token()  # noqa: SLF001

    def _show_token(self) -> None:
        self.inner._show_token()  # noqa: SLF001

    def _read_entries(self, digests: Sequence[bytes]) -> dict[bytes, bytes]:
        return self.inner._read_entries(digests)  # noqa: SLF001

    def _write_entries(self, rows: Sequence[EntryRow]) -> bool:
        return self.inner._write_entries(rows)  # noqa: SLF001

    def _delete_entries(self, digests: Sequence[bytes]) -> int:
        return self.inner._delete_entries(digests)  # noqa: SLF001

    def _delete_op(self, op: str) -> int:
        return self.inner._delete_op(op)  # noqa: SLF001

    def _recent(self, op: str, limit: int) -> list[tuple[bytes, bytes]]:
        return self.inner._recent(op, limit)  # noqa: SLF001

    def _read_blob(self, blob: BlobId, length: int) -> Buffer | None:
        return self.inner._read_blob(blob, length)  # noqa: SLF001

    def _write_blobs(self, blobs: Mapping[BlobId, Buffer]) -> None:
        self.inner._write_blobs(blobs)  # noqa: SLF001

    def _has_blobs(self, blobs: Collection[tuple[BlobId, int]]) -> set[BlobId]:
        return self.inner._has_blobs(blobs)  # noqa: SLF001

    def _quarantine_entry(self, digest: bytes, data: bytes) -> None:
        self.inner._quarantine_entry(digest, data)  # noqa: SLF001

    def _quarantine_blob(self, blob: BlobId) -> None:
        self.inner._quarantine_blob(blob)  # noqa: SLF001
