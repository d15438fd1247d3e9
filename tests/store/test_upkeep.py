"""What a collector takes and what it spares, in folders and buckets."""

from __future__ import annotations

import os
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store.places import PLACES, large, put, put_forward

from invariant_dask import DiskStore, MemoryStore, open_store
from invariant_dask.core.digest import BlobId
from invariant_dask.errors import (
    ArtifactNotFoundError,
    SpecError,
    StoreLayoutError,
    StoreUnavailableError,
)
from invariant_dask.store import Store, upkeep
from invariant_dask.store.collector import Collector
from invariant_dask.store.evictions import evictions
from invariant_dask.store.heartbeat import Heart
from invariant_dask.store.leases import Lease
from invariant_dask.store.notes import EXPIRES, read_roots
from invariant_dask.store.record import Found
from invariant_dask.store.sizes import (
    DAY,
    HOUR,
    SECOND,
    age_text,
    parse_age,
    size_text,
)
from invariant_dask.testing import damage_blob, sample_planned

WEEK = 7 * 24 * 3600


@pytest.fixture(params=PLACES)
def store(request, tmp_path: Path) -> Store:
    return PLACES[request.param](tmp_path)


def blobs_of(store: Store) -> set[BlobId]:
    return {seen.blob for seen in store.keeper().blobs()}


def hold(store: Store, run: str, *records) -> upkeep.Root:
    root = upkeep.Root(store, run, Heart(every=3600))
    root.hold(Found(record, None) for record in records)
    return root


def test_blob_of_a_replaced_record_is_freed(store: Store) -> None:
    old, new = put(store, 1, large(1)), put(store, 1, large(2))
    assert blobs_of(store) == {blob for record in (old, new) for blob, _ in record.parts}
    put_forward(store, WEEK)
    report = upkeep.collect(store)
    assert [(r.what, r.size, r.why) for r in report.removals] == [
        ("blob", 40_000, "no record names it")
    ]
    assert blobs_of(store) == {blob for blob, _ in new.parts}
    assert store.get(new.resolved) == large(2)


def test_blob_of_a_record_that_was_replaced_by_a_small_one_is_freed(store: Store) -> None:
    put(store, 1, large(1))
    small = put(store, 1, "small")
    put_forward(store, WEEK)
    assert upkeep.collect(store).count("blob") == 1
    assert blobs_of(store) == set()
    assert store.get(small.resolved) == "small"


def test_young_blob_without_a_record_stays(store: Store) -> None:
    blob = store.write_blob(large(1))
    assert upkeep.collect(store).removals == []
    assert blobs_of(store) == {blob}


def test_without_a_budget_every_record_stays(store: Store) -> None:
    records = [put(store, n) for n in range(3)]
    put_forward(store, 1000 * WEEK)
    assert upkeep.collect(store).removals == []
    assert len(store.lookup([r.resolved for r in records])) == 3


def test_what_was_not_used_for_long_goes_with_its_blobs_and_claims(store: Store) -> None:
    record = put(store, 1, claim="one")
    put_forward(store, WEEK)
    assert upkeep.collect(store, max_age="8d").removals == []
    report = upkeep.collect(store, max_age="6d")
    assert {r.what: r.why for r in report.removals} == {
        "record": "last used 7 d ago",
        "blob": "its records went",
        "planned entry": "its record went",
    }
    assert store.lookup([record.resolved, sample_planned("one")]) == {}
    assert list(store.keeper().entries()) == []
    assert blobs_of(store) == set()
    assert report.size_after == 0


def test_record_whose_blob_was_set_aside_goes_even_if_pinned(store: Store) -> None:
    record, sound = put(store, 1, claim="one"), put(store, 2)
    upkeep.pin(store, record.resolved)
    damage_blob(store, *record.parts[0])
    assert not upkeep.verify(store).is_sound
    told = upkeep.overview(store)
    assert (told.records, told.blobs, told.lost, told.aside) == (2, 1, 1, 2)
    assert told.size_of_aside > 80_000  # with the reports, and what `damage_blob` left
    put_forward(store, 3600 * 24)
    would = upkeep.collect(store, dry_run=True)
    report = upkeep.collect(store)
    assert report.removals == would.removals
    assert [(r.what, r.digest, r.why) for r in report.removals] == [
        ("record", record.resolved, "its blob is gone"),
        ("planned entry", sample_planned("one"), "its blob is gone"),
    ]
    assert evictions(store) == {}, "it was lost, not removed to make room"
    assert upkeep.verify(store).is_sound
    assert store.get(sound.resolved) == large(2)


def test_record_whose_blob_is_gone_stays_while_it_is_young_or_a_run_relies_on_it(
    store: Store,
) -> None:
    record = put(store, 1)
    store._quarantine_blob(record.parts[0][0])
    assert upkeep.collect(store).removals == []
    root = hold(store, "run", record)
    assert upkeep.collect(store, grace=0).removals[:-1] == []
    root.release()
    put_forward(store, WEEK)
    assert upkeep.collect(store, grace=0).count("record") == 1


def test_record_whose_blob_was_written_since_blobs_were_listed_stays(store: Store) -> None:
    record = put(store, 1)
    keeper = store.keeper()
    assert keeper is not None
    collector = Collector(keeper, 0, None)
    listed = list(keeper.blobs())
    collector.scan()
    for seen in listed:
        del collector.blobs[seen.blob]
    assert collector.lost(read_roots(keeper, keeper.now())) == []
    store._quarantine_blob(record.parts[0][0])
    assert [e.digest for e in collector.lost(read_roots(keeper, keeper.now()))] == [record.resolved]


def test_what_was_set_aside_goes_after_a_week_or_as_early_as_one_says(store: Store) -> None:
    for n in (1, 2):
        record = put(store, n)
        damage_blob(store, *record.parts[0])
        assert store._verified_blob(*record.parts[0]) is None
        put(store, n)
    assert upkeep.collect(store).removals == []
    assert upkeep.overview(store).aside == 4
    put_forward(store, 3600)
    would = upkeep.collect(store, grace=60, dry_run=True)
    report = upkeep.collect(store, grace=60)
    assert would.freed == report.freed
    assert [(r.what, r.why) for r in report.removals] == 4 * [
        ("set aside", "a damaged blob, set aside 60 min ago")
    ]
    assert "4 damaged things set aside" in str(report)
    told = upkeep.overview(store)
    assert (told.aside, told.size_of_aside) == (0, 0)
    assert report.size_after == told.size
    record = put(store, 3)
    store._quarantine_blob(record.parts[0][0])
    put_forward(store, WEEK + 3600)
    assert upkeep.collect(store).count("set aside") == 1


def test_a_store_that_cannot_be_written_says_so_and_what_would_go(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "s")
    put(store, 1)
    store._keeper.is_read_only = True
    put_forward(store, WEEK)
    with pytest.raises(StoreUnavailableError, match="cannot be written: nothing goes"):
        upkeep.collect(store, max_age=0)
    assert upkeep.collect(store, max_age=0, dry_run=True).count("record") == 1


def test_dry_run_says_the_same_and_removes_nothing(store: Store) -> None:
    record = put(store, 1, claim="one")
    put_forward(store, WEEK)
    would = upkeep.collect(store, max_age=0, dry_run=True)
    assert store.get(sample_planned("one")) == large(1)
    assert store.stats.evicted == 0
    did = upkeep.collect(store, max_age=0)
    assert would.removals == did.removals
    assert not store.exists(record.resolved)


def test_what_was_used_least_recently_goes_first(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "s")
    records = [put(store, n) for n in range(4)]
    for record in (records[1], records[0], records[3], records[2]):
        store._index.mark_used([record.resolved])
    put_forward(store, WEEK)
    upkeep.collect(store, max_size=90_000)
    assert store.lookup([r.resolved for r in records]).keys() == {
        records[2].resolved, records[3].resolved,
    }  # fmt: skip


def test_in_a_bucket_the_runs_that_relied_on_something_tell_when_it_was_used(
    tmp_path: Path,
) -> None:
    store = PLACES["files"](tmp_path)
    records = [put(store, n) for n in range(3)]
    for path in (tmp_path / "store" / "entries").rglob("*"):
        os.utime(path, (1e9, 1e9))
    hold(store, "run", records[0]).release()
    put_forward(store, WEEK)
    upkeep.collect(store, max_size=50_000)
    assert store.lookup([r.resolved for r in records]).keys() == {records[0].resolved}


def test_the_latest_of_each_op_stay_alone_or_within_a_budget(store: Store) -> None:
    kept = {}
    for op in ("sample:a", "sample:b"):
        for n in range(3):
            kept[op, n] = put(store, n, op=op).resolved
    put_forward(store, WEEK)
    upkeep.collect(store, keep_last=2, max_age=0)
    assert store.lookup(kept.values()).keys() == {d for (_, n), d in kept.items() if n > 0}
    upkeep.collect(store, keep_last=1)
    assert store.lookup(kept.values()).keys() == {d for (_, n), d in kept.items() if n > 1}


def test_grace_spares_what_is_younger(store: Store) -> None:
    record = put(store, 1)
    put_forward(store, 2 * 24 * 3600)
    assert upkeep.collect(store, max_age=0, grace="3d").kept == {"young": 1}
    assert store.exists(record.resolved)
    assert upkeep.collect(store, max_age=0, grace="1d").count("record") == 1


def test_pinned_artifact_stays_until_it_is_unpinned(store: Store) -> None:
    record, other = put(store, 1, claim="one"), put(store, 2)
    upkeep.pin(store, sample_planned("one"), by="me", reason="a paper")
    put_forward(store, WEEK)
    upkeep.collect(store, max_age=0)
    assert store.get(sample_planned("one")) == large(1)
    assert not store.exists(other.resolved)
    (pin,) = upkeep.pins(store)
    assert pin[:3] == (sample_planned("one"), "me", "a paper")
    assert upkeep.unpin(store, sample_planned("one"))
    assert not upkeep.unpin(store, sample_planned("one"))
    upkeep.collect(store, max_age=0)
    assert not store.exists(record.resolved)


@pytest.mark.parametrize("by", ["resolved", "planned"])
def test_pin_that_comes_while_a_collector_removes_is_kept(by, store: Store, monkeypatch) -> None:
    record = put(store, 1, claim="one")
    digest = record.resolved if by == "resolved" else sample_planned("one")
    put_forward(store, WEEK)
    keeper = store.keeper()
    remove = keeper.remove_entries

    def pin_first(seen):
        upkeep.pin(store, digest)
        return remove(seen)

    monkeypatch.setattr(keeper, "remove_entries", pin_first)
    upkeep.collect(store, keep_last=0)
    assert store.get(digest) == large(1)


def test_what_is_not_there_cannot_be_pinned(store: Store) -> None:
    with pytest.raises(ArtifactNotFoundError):
        upkeep.pin(store, sample_planned("none"))
    assert upkeep.pins(store) == []


def test_what_a_run_relies_on_stays_while_it_lives(store: Store) -> None:
    record = put(store, 1, claim="one")
    hold(store, "run", record)
    put_forward(store, EXPIRES / SECOND - 60)
    assert upkeep.collect(store, max_age=0, grace=0).kept == {"in use by a run": 1}
    assert store.exists(sample_planned("one"))
    put_forward(store, EXPIRES / SECOND + 60)
    # The run was killed: nobody renews it.
    assert upkeep.collect(store, max_age=0, grace=0).count("record") == 1


def test_root_that_could_not_be_written_at_first_is_written_later(
    store: Store, monkeypatch
) -> None:
    record = put(store, 1)
    keeper, heart = store.keeper(), Heart(every=3600)

    def refuse(*_: object) -> None:
        raise StoreUnavailableError("503")

    root = upkeep.Root(store, "run", heart)
    with monkeypatch.context() as patch:
        patch.setattr(keeper, "write_note", refuse)
        root.hold([Found(record, None)])
    heart.beat()
    assert read_roots(keeper, keeper.now()).live == {record.resolved}
    root.release()


def test_run_that_is_renewed_does_not_expire(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "s")
    heart = Heart(every=3600)
    root = upkeep.Root(store, "run", heart)
    root.hold([Found(put(store, 1), None)])
    put_forward(store, WEEK)
    heart.beat()
    assert upkeep.collect(store, max_age=0).kept == {"in use by a run": 1}
    root.release()


def test_root_that_comes_while_a_collector_works_is_seen(store: Store, monkeypatch) -> None:
    record = put(store, 1)
    put_forward(store, WEEK)
    keeper = store.keeper()
    entries = keeper.entries

    def listed():
        yield from entries()
        hold(store, "late", record)
        put_forward(store, 0)

    monkeypatch.setattr(keeper, "entries", listed)
    assert upkeep.collect(store, max_age=0).removals == []
    assert store.exists(record.resolved)


def test_record_that_is_written_again_meanwhile_stays(store: Store, monkeypatch) -> None:
    record = put(store, 1)
    put_forward(store, WEEK)
    keeper = store.keeper()
    remove = keeper.remove_entries

    def late(seen):
        put(store, 1, "another value")
        return remove(seen)

    monkeypatch.setattr(keeper, "remove_entries", late)
    assert upkeep.collect(store, max_age=0).count("record") == 0
    assert store.get(record.resolved) == "another value"


def test_blob_that_is_written_again_meanwhile_stays(store: Store, monkeypatch) -> None:
    blob = store.write_blob(large(1))
    put_forward(store, WEEK)
    keeper = store.keeper()
    remove = keeper.remove_blobs
    records = []

    def late(seen):
        records.append(put(store, 1, large(1)))
        return remove(seen)

    monkeypatch.setattr(keeper, "remove_blobs", late)
    assert upkeep.collect(store).removals == []
    assert blobs_of(store) == {blob}
    assert store.get(records[0].resolved) == large(1)


def test_claim_without_its_record_goes(store: Store) -> None:
    record = put(store, 1, claim="one")
    store._delete_entries([record.resolved])
    put_forward(store, WEEK)
    (claim, _) = sorted(upkeep.collect(store).removals)[::-1]
    assert (claim.what, claim.why) == ("planned entry", "it points nowhere")
    assert list(store.keeper().entries()) == []


def test_marks_of_what_went_go_too(tmp_path: Path) -> None:
    store = PLACES["files"](tmp_path)
    put(store, 1, claim="one")
    kept = put(store, 2)
    upkeep.pin(store, kept.resolved)
    put_forward(store, WEEK)
    upkeep.collect(store, max_age=0)
    assert len([path for path in (tmp_path / "store" / "ops").rglob("*") if path.is_file()]) == 1
    assert [r.resolved for r in store.recent("sample:op")] == [kept.resolved]


def test_no_blob_goes_while_an_entry_cannot_be_read(tmp_path: Path) -> None:
    store = PLACES["files"](tmp_path)
    put(store, 1)
    (path,) = (path for path in (tmp_path / "store" / "entries").rglob("*") if path.is_file())
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[:-1])
    put_forward(store, WEEK)
    report = upkeep.collect(store)
    assert (report.removals, report.damaged) == ([], 1)
    assert "run verify" in str(report)
    assert len(blobs_of(store)) == 1


def test_blob_that_the_index_does_not_list_is_freed(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "s")
    blob = store.write_blob(large(1))
    store._index.transact(lambda sql: sql.execute("DELETE FROM blobs"))
    assert upkeep.collect(store).removals == []
    put_forward(store, WEEK)
    assert upkeep.collect(store).count("blob") == 1
    assert not store.keeper().path_of(blob).exists()


def test_budget_that_was_set_is_kept_by_all_who_write(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "s")
    upkeep.write_budget(store.keeper(), upkeep.Budget.of("100kB"))
    other = DiskStore(tmp_path / "s")
    for n in range(10):
        put(other, n)
    assert other.keeper().size() <= 100_000
    assert other.stats.evicted > 0


def test_smaller_one_of_two_budgets_counts(tmp_path: Path) -> None:
    upkeep.write_budget(DiskStore(tmp_path / "s").keeper(), upkeep.Budget.of("1GB"))
    store = DiskStore(tmp_path / "s", size_limit="100kB")
    for n in range(10):
        put(store, n)
    assert store.keeper().size() <= 100_000


def test_budget_of_a_bucket_is_looked_at_every_six_hours(tmp_path: Path) -> None:
    store = PLACES["files"](tmp_path)
    assert upkeep.keep_budget(store) is None
    for n in range(3):
        put(store, n)
    upkeep.write_budget(store.keeper(), upkeep.Budget.of(max_size=50_000))
    assert upkeep.keep_budget(store).removals == []  # all are young
    put_forward(store, 5 * 3600)
    assert upkeep.keep_budget(store) is None
    put_forward(store, 24 * 3600)
    assert upkeep.keep_budget(store).count("record") == 2


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b'{"budget": {"max_size": "big"}}'])
def test_budget_that_makes_no_sense_is_refused_with_the_cure(text, tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "s")
    store.keeper().write_note("", "config", text)
    with pytest.raises(StoreLayoutError, match="gc --set"):
        upkeep.collect(store)


def test_budget_that_makes_no_sense_keeps_nobody_from_setting_it_anew(
    tmp_path: Path, caplog
) -> None:
    put(DiskStore(tmp_path / "s"), 1)
    (tmp_path / "s" / "config").write_bytes(b"")
    store = DiskStore(tmp_path / "s")
    assert "gc --set" in caplog.text
    assert store.size_limit is None
    upkeep.write_budget(upkeep.keeper_of(store), upkeep.Budget.of("1GB"))
    assert DiskStore(tmp_path / "s").size_limit == 10**9


@pytest.mark.parametrize("what", ["budget", "lease", "namespace"])
@pytest.mark.parametrize("kind", ["files", "memory"])
def test_place_is_a_store_whatever_was_written_there_first(
    what: str, kind: str, tmp_path: Path
) -> None:
    first = PLACES[kind](tmp_path)
    if what == "budget":
        upkeep.write_budget(upkeep.keeper_of(first), upkeep.Budget.of("1GB"))
    elif what == "lease":
        Lease(first, bytes(32), "me", heart=Heart(every=3600)).wait()
    else:
        put(open_store(first.url, namespace="team"), 1)
    second = open_store(first.url, concurrency=3)  # another object
    assert second is not first
    record = put(second, 2)
    assert open_store(first.url, concurrency=4).exists(record.resolved)


def test_token_of_a_client_that_lives_long_is_renewed(tmp_path: Path, monkeypatch) -> None:
    store = PLACES["files"](tmp_path)
    ref = store.ref()
    ref.show()
    put_forward(store, 8 * 86_400)
    upkeep.collect(store)
    assert not store.sees_token(ref.token)
    monkeypatch.setattr(store, "_token_shown", store._token_shown - 2 * 86_400)
    store.ref().show()
    assert store.sees_token(ref.token)


def test_store_in_memory_has_nothing_to_look_after() -> None:
    with pytest.raises(SpecError, match="nothing to look after"):
        upkeep.collect(MemoryStore())


def test_store_that_cannot_be_written_is_looked_at_and_left_as_it_is(
    tmp_path: Path, monkeypatch
) -> None:
    record = put(DiskStore(tmp_path / "s"), 1, claim="one")
    put(DiskStore(tmp_path / "s"), 1, large(2))
    monkeypatch.setattr(os, "access", lambda *_: False)
    store = DiskStore(tmp_path / "s")
    assert upkeep.overview(store).records == 1
    assert upkeep.verify(store).is_sound
    assert upkeep.show(store, record.resolved).record.size > 40_000
    assert upkeep.keep_budget(store) is None
    hold(store, "run", record)
    assert store.keeper().notes("roots") == []
    put_forward(store, WEEK)
    with pytest.raises(StoreUnavailableError):
        upkeep.collect(store, max_age=0)


@pytest.mark.parametrize(
    ("text", "age"),
    [(1.5, 1.5 * SECOND), ("12h", 12 * HOUR), ("1.5d", 36 * HOUR), ("2w", 14 * DAY)],
)
def test_age_is_read_from_text(text, age) -> None:
    assert parse_age(text) == age


@pytest.mark.parametrize("text", ["", "x", "-1", -1, True, "1 month", float("inf")])
def test_age_that_makes_no_sense_is_refused(text) -> None:
    with pytest.raises(SpecError, match="max_age"):
        parse_age(text)


def test_sizes_and_ages_for_people() -> None:
    assert [size_text(n) for n in (0, 999, 1500, 999_960, 10**13)] == [
        "0 B", "999 B", "1.5 kB", "1.0 MB", "10.0 TB",
    ]  # fmt: skip
    assert [age_text(n) for n in (-1, HOUR, 3 * DAY)] == ["0 s", "60 min", "3 d"]


COUNT = 8


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    kind=st.sampled_from(sorted(PLACES)),
    values=st.lists(st.integers(0, 5), min_size=COUNT, max_size=COUNT),
    old=st.sets(st.integers(0, COUNT - 1)),
    pinned=st.sets(st.integers(0, COUNT - 1), max_size=2),
    rooted=st.sets(st.integers(0, COUNT - 1), max_size=2),
    max_size=st.none() | st.integers(1, 400_000),
    max_age=st.none() | st.integers(0, WEEK),
    keep_last=st.none() | st.integers(0, 3),
)
def test_collector_never_takes_what_is_pinned_in_use_young_or_named(
    kind, values, old, pinned, rooted, max_size, max_age, keep_last
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = PLACES[kind](Path(folder))
        # Few values, so that records share blobs.
        records = [
            put(store, n, large(value) if value else "small", claim=f"claim {n}")
            for n, value in enumerate(values)
        ]
        for n in pinned:
            upkeep.pin(store, records[n].resolved if n % 2 else sample_planned(f"claim {n}"))
        hold(store, "run", *(records[n] for n in sorted(rooted)))
        now = store.keeper().now()
        entries = store.keeper().entries
        ages = {records[n].resolved: 30 * 24 * 3600 * SECOND for n in old}
        # Each is as old as we say; the clock itself stands still.
        store.keeper().entries = lambda: (  # type: ignore[method-assign]
            seen._replace(used=now - ages.get(seen.target or seen.digest, 0)) for seen in entries()
        )
        store.keeper().clock = lambda: now + SECOND
        report = upkeep.collect(store, max_size=max_size, max_age=max_age, keep_last=keep_last)
        safe = pinned | rooted | (set(range(COUNT)) - old)
        for n in safe:
            assert store.get(sample_planned(f"claim {n}")) == (
                large(values[n]) if values[n] else "small"
            )
        assert report.count("record") <= len(old - pinned - rooted)
        # Whatever is still there is whole.
        assert upkeep.verify(store).is_sound
        store.close()


def test_seed_chooses_the_same_sample(store: Store) -> None:
    for n in range(30):
        put(store, n, n)
    told = [upkeep.verify(store, sample=7, seed=random.Random(1).randrange(9)) for _ in range(2)]
    assert told[0] == told[1]
    assert told[0].entries == 7
