"""What every store that keeps things promises."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from invariant_dask.core import manifest as manifests
from invariant_dask.core.digest import BlobId, PlannedDigest
from invariant_dask.core.encode import Encoded, describe, encode, stable_hash
from invariant_dask.errors import ArtifactLostError, ArtifactNotFoundError
from invariant_dask.store.about import About
from invariant_dask.store.base import Store
from invariant_dask.store.record import EntryRow, Record
from invariant_dask.testing.basics import StoreBasics, raises
from invariant_dask.testing.samples import (
    damage_blob,
    damage_entry,
    sample_manifest,
    sample_planned,
    sample_values,
)


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
        raises(TypeError, sealed["list"].append, 2)
        raises(TypeError, sealed.update, {})
        raises(ValueError, sealed["array"].__setitem__, 0, 1.0)
        raises(ValueError, sealed["array"].setflags, True)

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
        store.barrier()  # a tier that is written later still has what was right before
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
            raises(ArtifactNotFoundError, store.get, record.resolved)
            raises(ArtifactLostError, store.fetch, record)
            store.put(sample_manifest(), value)
            assert store.get(record.resolved) == value

    def test_damaged_blob_is_set_aside_and_never_seen(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        for value in (b"x" * 40_000, list(range(30_000)), b"y" * 3_000_000):
            record = store.put(sample_manifest(), value)
            store.reset_stats()
            self.damage_blob(store, *record.parts[0])
            error = raises(ArtifactLostError, store.fetch, record)
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
        raises(ArtifactLostError, store.fetch, record)
        assert not store.exists(record.resolved)

    def test_record_that_hides_a_blob_is_refused(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        whole = encode([b"x" * 40_000])
        forged = Encoded(whole.identity, whole.storage, {})
        record = store.publish(forged, sample_manifest(), kind="list", about=About("sample:op"))
        raises(ArtifactLostError, store.fetch, record)

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
