"""Chains read the nearest tier that has it, copy nearer what was far, and outlive their tiers."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from invariant_dask.core.encode import encode
from invariant_dask.errors import ArtifactLostError, SpecError, StoreUnavailableError
from invariant_dask.store import (
    About,
    ChainStore,
    DiskStore,
    MemoryStore,
    NullStore,
    ReadOnly,
    Record,
    Store,
    Tier,
    open_store,
)  # fmt: skip
from invariant_dask.store.breaker import Breaker
from invariant_dask.store.late import LateStore
from invariant_dask.testing import (
    CountingStore,
    FlakyStore,
    damage_blob,
    damage_entry,
    sample_manifest,
    sample_planned,
)

BIG = b"x" * 40_000


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def planned_put(store: Store, name: str, value: object) -> tuple[bytes, Record]:
    planned = sample_planned(name)
    record = store.publish(
        encode(value), sample_manifest(name=name), kind="any",
        about=About("sample:op", node=f"node {name}", created=7, writer="w"), planned=planned,
    )  # fmt: skip
    return planned, record


@pytest.fixture
def near(tmp_path: Path) -> DiskStore:
    return DiskStore(tmp_path / "near")


@pytest.fixture
def far(tmp_path: Path) -> DiskStore:
    return DiskStore(tmp_path / "far")


# --- reading through ---


def test_small_artifacts_are_copied_nearer_when_they_are_looked_up(near, far) -> None:
    planned, record = planned_put(far, "a", [1])
    chain = ChainStore(near, far)
    found = chain.lookup([planned])[planned]
    assert found.tier == far.url
    assert found._replace(tier="") == far.lookup([planned])[planned]
    assert near.get(planned) == [1]
    # Byte by byte as the writer made them, and found by age as there.
    for digest in (planned, record.resolved):
        assert near._read_entries([digest]) == far._read_entries([digest])
    assert near._recent("sample:op", 5) == far._recent("sample:op", 5)


@pytest.mark.parametrize("value", [BIG, [BIG, np.arange(30_000)], list(range(30_000))])
def test_large_artifacts_are_copied_nearer_when_they_are_fetched(near, far, value) -> None:
    planned, record = planned_put(far, "a", value)
    chain = ChainStore(near, far)
    found = chain.lookup([planned])[planned].record
    assert not near.exists(planned)
    chain.fetch(found)
    assert encode(near.get(planned)).storage == encode(value).storage
    for digest in (planned, record.resolved):
        assert near._read_entries([digest]) == far._read_entries([digest])


def test_large_artifact_is_copied_nearer_though_it_was_looked_up_elsewhere(near, far) -> None:
    _, record = planned_put(far, "a", BIG)
    ChainStore(near, far).fetch(record)
    assert near.get(record.resolved) == BIG


def test_each_tier_is_asked_once_and_only_for_what_nearer_ones_lack(near, far) -> None:
    known = [planned_put(near, f"near {n}", n)[0] for n in range(20)]
    further = [planned_put(far, f"far {n}", n)[0] for n in range(20)]
    absent = [sample_planned(f"absent {n}") for n in range(20)]
    first, second = CountingStore(near), CountingStore(far)
    chain = ChainStore(first, second)
    found = chain.lookup([*known, *further, *absent])
    assert found.keys() == {*known, *further}
    assert len(first.lookups) == len(second.lookups) == 1
    assert set(second.looked_up) == {*further, *absent}
    one, two = chain.tiers
    assert (one.hits, one.misses, one.promoted) == (20, 40, 20)
    assert (two.hits, two.misses, two.promoted) == (20, 20, 0)
    chain.lookup(known)
    assert len(second.lookups) == 1, "what is near is not asked for further away"


def test_middle_tier_gets_what_was_found_behind_it(near, far) -> None:
    planned, _ = planned_put(far, "a", [BIG])
    memory = MemoryStore()
    chain = ChainStore(memory, near, far)
    assert chain.get(planned) == [BIG]
    assert memory.get(planned) == near.get(planned) == [BIG]


def test_claim_and_record_in_different_tiers_meet(near, far) -> None:
    planned, record = planned_put(near, "a", [1])
    far._publish({}, _rows(near, record.resolved))
    near._delete_entries([record.resolved])
    assert ChainStore(near, far).get(planned) == [1]
    assert ChainStore(far, near, pauses=(1, 1)).get(planned) == [1]


def test_record_and_its_blobs_in_different_tiers_meet(near, far) -> None:
    _, record = planned_put(near, "a", [BIG, b"y" * 50_000])
    for blob, length in record.parts[:1]:
        far._write_blobs({blob: near._read_blob(blob, length)})
        near._quarantine_blob(blob)
    chain = ChainStore(near, far)
    assert chain.get(record.resolved) == [BIG, b"y" * 50_000]
    assert near.get(record.resolved) == [BIG, b"y" * 50_000]


def _rows(store: Store, digest: bytes):
    from invariant_dask.store.record import EntryRow

    return [EntryRow(digest, store._read_entries([digest])[digest], "sample:op", 7, None)]


def test_trouble_with_copying_nearer_is_no_error(near, far) -> None:
    planned, _ = planned_put(far, "a", [1])
    full = FlakyStore(near, only=["_write_entries", "_write_blobs"])
    full.is_down = True
    chain = ChainStore(full, far)
    assert chain.get(planned) == [1]
    assert chain.tiers[0].state == "not written"
    assert chain.barrier() == ()


def test_what_is_being_forgotten_is_not_copied_nearer(near, far) -> None:
    planned, record = planned_put(far, "a", [1])
    forgotten: list[int] = []

    class Late(CountingStore):
        def _look_up(self, wanted):
            answer = super()._look_up(wanted)
            forgotten.append(chain.invalidate(planned))  # while its answer is on the way
            return answer

    chain = ChainStore(near, Late(far))
    chain.lookup([planned])
    assert forgotten == [2]
    assert not near.exists(planned)
    assert not near.exists(record.resolved)


# --- damage and loss ---


@pytest.mark.parametrize("value", [[1], BIG, list(range(30_000))])
def test_damage_in_the_near_tier_is_repaired_from_the_far_one(near, far, value) -> None:
    chain = ChainStore(near, far)
    planned, record = planned_put(chain, "a", value)
    for digest in (planned, record.resolved):
        damage_entry(near, digest)
        assert chain.get(planned) == value
        assert near.get(planned) == value
    for part in record.parts:
        damage_blob(near, *part)
        assert chain.get(planned) == value
        assert near.get(planned) == value
    assert far.stats.quarantined == 0
    assert near.stats.quarantined == 2 + len(record.parts)


def test_nothing_is_lost_with_the_near_tier(near, far, tmp_path) -> None:
    chain = ChainStore(near, far)
    values = {f"n{n}": [n, BIG] if n % 2 else n for n in range(20)}
    planned = {name: planned_put(chain, name, value)[0] for name, value in values.items()}
    chain.close()
    shutil.rmtree(tmp_path / "near")
    again = ChainStore(DiskStore(tmp_path / "near"), far)
    assert {name: again.get(digest) for name, digest in planned.items()} == values
    assert all(again.stores[0].exists(digest) for digest in planned.values())


# --- writing ---


def test_what_is_written_behind_is_far_after_the_barrier(near, far) -> None:
    slow, go = FlakyStore(far), threading.Event()

    class Held(CountingStore):
        def _publish(self, blobs, rows):
            assert go.wait(60)
            super()._publish(blobs, rows)

    chain = ChainStore(near, Tier(Held(slow), write="behind"))
    planned = [planned_put(chain, f"{n}", [n, BIG])[0] for n in range(5)]
    assert len(near.lookup(planned)) == 5
    assert far.lookup(planned) == {}
    go.set()
    assert chain.barrier() == ()
    assert len(far.lookup(planned)) == 5
    assert far.get(planned[3]) == [3, BIG]


def test_tier_behind_is_written_at_once_where_nothing_else_lasts(far, near) -> None:
    chain = ChainStore(MemoryStore(), Tier(far, write="behind"))
    planned, _ = planned_put(chain, "a", [BIG])
    assert far.exists(planned)
    broken = FlakyStore(near)
    broken.is_down = True
    chain = ChainStore(broken, Tier(far, write="behind"))
    planned, _ = planned_put(chain, "b", [BIG])
    assert far.exists(planned)


def test_waiting_writes_are_bounded(near, far, monkeypatch) -> None:
    started, go = threading.Event(), threading.Event()

    class Held(CountingStore):
        def _publish(self, blobs, rows):
            started.set()
            assert go.wait(60)
            super()._publish(blobs, rows)

    monkeypatch.setattr("invariant_dask.store.behind._BATCH_ROWS", 1)
    chain = ChainStore(near, Tier(Held(far), write="behind"))
    behind = chain._tiers[1].behind
    behind._limit = 5000
    most = []
    done = threading.Thread(
        target=lambda: [
            (planned_put(chain, f"{n}", n), most.append(behind._bytes)) for n in range(50)
        ]
    )
    done.start()
    assert started.wait(60)
    go.set()
    done.join()
    assert chain.barrier() == ()
    assert max(most) <= 5000
    assert len(far.lookup([sample_planned(f"{n}") for n in range(50)])) == 50


def test_read_only_tier_is_read_and_never_changed(near, far) -> None:
    planned, record = planned_put(far, "a", BIG)
    for tier in (ReadOnly(far), Tier(far, write="read-only")):
        chain = ChainStore(near, tier)
        other, _ = planned_put(chain, "b", 1)
        assert chain.get(planned) == BIG
        assert chain.barrier() == ()
        assert not far.exists(other)
        with pytest.raises(StoreUnavailableError, match="it is read-only"):
            chain.invalidate(planned)
        assert chain.invalidate(other) == 2
    damage_blob(far, *record.parts[0])
    reader = ReadOnly(far)
    with pytest.raises(ArtifactLostError):
        reader.fetch(record)
    assert far._has_blobs(record.parts), "what is damaged stays where it is"
    with pytest.raises(StoreUnavailableError, match="read-only"):
        reader.invalidate("sample:op")


def test_chain_that_cannot_be_written_says_why(far) -> None:
    chain = ChainStore(ReadOnly(far))
    with pytest.raises(StoreUnavailableError, match="all of them are read-only"):
        planned_put(chain, "a", 1)


# --- a tier that fails ---


def test_failing_tier_is_left_out_said_so_once_and_tried_again(near, far, caplog) -> None:
    flaky, clock = FlakyStore(far), Clock()
    chain = ChainStore(near, flaky, clock=clock, pauses=(1, 4))
    planned, _ = planned_put(chain, "a", 1)
    flaky.is_down = True
    for _ in range(10):
        assert chain.lookup([bytes(32)]) == {}
        assert chain.get(planned) == 1
    assert flaky.failures == 1
    assert [r.levelno for r in caplog.records] == [logging.WARNING]
    assert "left out" in caplog.text
    assert chain.tiers[1].state == "left out"
    for pause, failures in ((1, 2), (2, 3), (4, 4), (4, 5)):
        clock.now += pause - 0.1
        chain.lookup([bytes(32)])
        assert flaky.failures == failures - 1
        clock.now += 0.2
        chain.lookup([bytes(32)])
        chain.lookup([bytes(32)])
        assert flaky.failures == failures
    flaky.is_down = False
    clock.now += 5
    chain.lookup([bytes(32)])
    assert chain.tiers[1].state == "in use"
    assert caplog.text.count("left out") == caplog.text.count("is back") == 1


def test_answer_that_took_no_request_does_not_bring_a_failed_tier_back(near, caplog) -> None:
    far = FlakyStore(open_store("memory://no-proof"), only=["_read_entries"])
    clock = Clock()
    chain = ChainStore(near, far, clock=clock, pauses=(1, 4))
    far.is_down = True
    chain.lookup([bytes(32)])
    clock.now += 1.1
    chain.generation()
    assert chain.tiers[1].state == "left out"
    assert "is back" not in caplog.text
    far.is_down = False
    chain.lookup([bytes(32)])
    assert chain.tiers[1].state == "in use"


def test_what_a_failed_tier_missed_is_told_and_written_when_it_is_back(near, far) -> None:
    flaky, clock = FlakyStore(far), Clock()
    chain = ChainStore(near, flaky, clock=clock)
    flaky.is_down = True
    planned = [planned_put(chain, f"{n}", [n, BIG])[0] for n in range(3)]
    (missed,) = chain.barrier()
    assert (missed.tier, missed.count) == (far.url, 3)
    assert missed.names == ("node 0", "node 1", "node 2")
    assert "made to fail" in str(missed)
    assert chain.tiers[1].missing == 3
    flaky.is_down = False
    clock.now += 100
    planned.append(planned_put(chain, "3", 3)[0])
    assert chain.barrier() == ()
    assert far.lookup(planned).keys() == set(planned)
    assert far.get(planned[1]) == [1, BIG]


def test_barrier_tries_a_tier_that_is_left_out(near, far) -> None:
    flaky = FlakyStore(far)
    for policy in ("through", "behind"):
        chain = ChainStore(near, Tier(flaky, write=policy), clock=Clock())
        flaky.is_down = True
        planned, _ = planned_put(chain, policy, [BIG])
        assert len(chain.barrier()) == 1
        flaky.is_down = False
        assert chain.barrier() == ()
        assert far.get(planned) == [BIG]


def test_chain_without_a_tier_that_answers_raises(near, far) -> None:
    flaky = [FlakyStore(near), FlakyStore(far)]
    chain = ChainStore(*flaky)
    planned, record = planned_put(chain, "a", BIG)
    for tier in flaky:
        tier.is_down = True
    with pytest.raises(StoreUnavailableError, match=r"no tier.*read.*made to fail"):
        chain.lookup([planned])
    with pytest.raises(StoreUnavailableError, match=r"no tier.*written.*made to fail"):
        planned_put(chain, "b", 1)
    with pytest.raises(ArtifactLostError):
        chain.fetch(record)


def test_lost_acknowledgement_is_written_again_and_harms_nothing(near, far) -> None:
    flaky = FlakyStore(far, every=3, after=True)
    chain = ChainStore(near, flaky, clock=Clock())
    planned = [planned_put(chain, f"{n}", [n, BIG])[0] for n in range(10)]
    while chain.barrier():
        pass
    assert len(far.lookup(planned)) == 10


def test_forgetting_while_a_tier_is_away_is_an_error_that_says_where(near, far) -> None:
    flaky = FlakyStore(far)
    chain = ChainStore(near, flaky)
    planned, _ = planned_put(chain, "a", 1)
    flaky.is_down = True
    removals = chain.removals
    with pytest.raises(StoreUnavailableError, match=f"may still have it: {far.url}"):
        chain.invalidate(planned)
    assert not near.exists(planned)
    assert chain.removals != removals


def test_what_was_forgotten_is_not_written_later(near, far) -> None:
    chain = ChainStore(near, Tier(far, write="behind"))
    flaky = FlakyStore(far, only=["_write_entries"])
    chain = ChainStore(near, flaky, clock=Clock())
    flaky.is_down = True
    planned, record = planned_put(chain, "a", 1)
    flaky.is_down = False
    chain._tiers[1].writing.try_now()
    chain.invalidate(planned)
    assert chain.barrier() == ()
    assert far.lookup([planned, record.resolved]) == {}


def test_breaker_lets_one_of_many_threads_try() -> None:
    clock = Clock()
    breaker = Breaker(clock, 1, 8)
    assert breaker.admits()
    assert breaker.fail("away")
    assert not breaker.admits()
    clock.now = 1
    barrier, admitted = threading.Barrier(8), []

    def ask() -> None:
        barrier.wait()
        admitted.append(breaker.admits())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(admitted) == [False] * 7 + [True]


# --- what runs rely on ---


def test_generation_tells_that_others_wrote_and_that_a_tier_went_or_came(near, far) -> None:
    flaky, clock = FlakyStore(far), Clock()
    chain = ChainStore(near, flaky, clock=clock)
    before = chain.generation()
    assert before == chain.generation() is not None
    put = "import sys; from invariant_dask import DiskStore;"
    put += "from invariant_dask.testing import sample_manifest;"
    put += "DiskStore(sys.argv[1]).put(sample_manifest(n=1), 1)"
    subprocess.run([sys.executable, "-c", put, far.url], check=True)
    after = chain.generation()
    assert after != before
    flaky.is_down = True
    assert chain.generation() is None
    away = chain.generation()
    assert away not in {None, before, after}
    flaky.is_down, clock.now = False, 10
    assert chain.generation() not in {None, before, after, away}
    assert ChainStore(near, CountingStore(far)).generation() is None


def test_puts_and_removals_past_the_chain_are_noticed(near, far) -> None:
    chain = ChainStore(near, far)
    planned_put(chain, "a", 1)
    assert chain.puts == chain.stats.puts == 1
    planned_put(far, "b", 1)
    assert (chain.puts, chain.stats.puts) == (2, 1)
    before = chain.removals
    near.invalidate("sample:op")
    assert chain.removals != before


def test_records_of_all_tiers_are_recent_and_a_full_tier_shows(near, far) -> None:
    for n in range(4):
        (near if n % 2 else far).publish(
            encode(n), sample_manifest(n=n), kind="int", about=About("sample:op", created=n + 1)
        )
    chain = ChainStore(near, far)
    assert [r.about.created for r in chain.recent("sample:op", 3)] == [4, 3, 2]
    assert len(chain.rows_of("sample:op", 2)) >= 2
    assert len(chain.rows_of("sample:op", 64)) == 4
    row = far.rows_of("sample:op", 1)
    ((digest, data),) = row.items()
    assert chain.found_in(digest, data).record == far.lookup([digest])[digest].record
    assert near.exists(digest)


# --- how it is named ---


def test_lists_open_as_chains_everywhere(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    chain = open_store(["a", {"url": "b", "write": "behind", "private": False}, "null:"])
    assert isinstance(chain, ChainStore)
    assert [store.url for store in chain.stores] == [
        str(tmp_path / "a"), str(tmp_path / "b"), "null:",
    ]  # fmt: skip
    assert [tier.write for tier in chain.tiers] == ["through", "behind", "through"]
    monkeypatch.setenv("INVARIANT_STORE", '["a", {"url": "b", "write": "behind"}]')
    named = open_store()
    assert isinstance(named, ChainStore)
    assert open_store(named.url) is named
    assert json.loads(named.url)[1] == {"url": str(tmp_path / "b"), "write": "behind"}
    assert open_store(["a"]).stores[0] is open_store("a")
    assert open_store("./[a").url == str(tmp_path / "[a")


@pytest.mark.parametrize(
    ("where", "match"),
    [
        ("[a, b]", "not a JSON list"),
        ("[]", "at least one tier"),
        (["memory:", {"url": "null:", "write": "sometimes"}], "sometimes"),
        (["memory:", {"path": "x"}], "it takes url"),
        (["memory:", ["null:"]], "not a tier"),
    ],
)
def test_what_is_no_chain_is_refused(where, match) -> None:
    with pytest.raises(SpecError, match=match):
        open_store(where)


def test_chains_of_chains_and_of_one_store_twice_are_refused(near) -> None:
    with pytest.raises(SpecError, match="cannot be a tier"):
        ChainStore(ChainStore(near))
    with pytest.raises(SpecError, match="twice"):
        ChainStore(near, DiskStore(near.url))
    with pytest.raises(SpecError, match="made of a store"):
        ChainStore("memory:")
    with pytest.raises(SpecError, match="tiers"):
        ReadOnly(ChainStore(NullStore()))


# --- other processes ---

ELSEWHERE = """
import pickle, sys
from invariant_dask.errors import StoreError
from invariant_dask.testing import sample_manifest
try:
    store = pickle.loads(bytes.fromhex(sys.argv[1])).open()
except StoreError as error:
    print(type(error).__name__, error)
else:
    print([s.url for s in store.stores])
    record = store.put(sample_manifest(at="elsewhere"), ["elsewhere"])
    print(record.resolved.hex())
"""


def elsewhere(data: bytes, **environment: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", ELSEWHERE, data.hex()],
        capture_output=True, text=True, check=False, env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_other_processes_see_the_shared_tiers(near, far) -> None:
    chain = ChainStore(MemoryStore(), near, Tier(far, write="behind"))
    urls, digest = elsewhere(pickle.dumps(chain.ref()))
    assert urls == str([near.url, far.url])
    # What was on its way is written when the process ends.
    assert near.get(digest) == far.get(digest) == ["elsewhere"]
    assert chain.get(digest) == ["elsewhere"]


def test_folder_that_a_process_does_not_see_is_replaced_by_one_of_its_own(
    near, far, tmp_path
) -> None:
    data = pickle.dumps(ChainStore(near, far).ref())
    shutil.rmtree(near.url)
    urls, digest = elsewhere(data)
    assert urls == str([near.url, far.url]), "at the same path, if its parent is there"
    assert far.get(digest) == ["elsewhere"]
    shutil.rmtree(near.url)
    Path(near.url).write_text("in the way")
    urls, _ = elsewhere(data, TMPDIR=str(tmp_path))
    assert str(tmp_path / f"invariant-dask-{os.getuid()}") in urls


def test_private_tier_is_never_the_clients_unless_it_is_there(near, far) -> None:
    chain = ChainStore(Tier(near, private=True), far)
    assert chain.place == far.place
    urls, digest = elsewhere(pickle.dumps(chain.ref()))
    assert urls == str([near.url, far.url])
    assert far.get(digest) == ["elsewhere"]


def test_chain_without_a_shared_tier_is_not_opened_elsewhere(near, far) -> None:
    data = pickle.dumps(ChainStore(near, far).ref())
    shutil.rmtree(far.url)
    assert elsewhere(data)[0].startswith("StoreNotSharedError")
    data = pickle.dumps(ChainStore(Tier(near, private=True)).ref())
    assert "no tier that other processes share" in elsewhere(data)[0]
    memory = pickle.dumps(ChainStore(MemoryStore()).ref())
    assert "no tier that other processes share" in elsewhere(memory)[0]


def test_tier_that_is_down_keeps_nobody_from_using_the_others(near, far, tmp_path) -> None:
    switch = tmp_path / "down"
    chain = ChainStore(near, FlakyStore(far, down_while=switch))
    switch.touch()
    planned, _ = planned_put(chain, "a", 1)
    _, digest = elsewhere(pickle.dumps(chain.ref()))
    assert near.get(digest) == ["elsewhere"]
    switch.unlink()
    assert chain.barrier() == ()
    assert far.exists(planned)


def put_behind(ref_data: bytes) -> None:
    pickle.loads(ref_data).open().put(sample_manifest(at="child"), ["child", BIG])


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_worker_process_that_ends_writes_what_is_on_its_way(near, far, method) -> None:
    chain = ChainStore(near, Tier(far, write="behind"))
    context = multiprocessing.get_context(method)
    child = context.Process(target=put_behind, args=(pickle.dumps(chain.ref()),))
    child.start()
    child.join()
    assert child.exitcode == 0
    assert [r.about.op for r in far.recent("sample:op")] == ["sample:op"]


AT_EXIT = """
import sys
import numpy as np
from invariant_dask.store import Tier, open_store
from invariant_dask.testing import FlakyStore, sample_manifest
near, far, state = sys.argv[1:]
far = open_store(far)
if state == "down":
    far = FlakyStore(far, down_while=near)
chain = open_store([Tier(open_store(near)), Tier(far, write="behind")])
chain.put(sample_manifest(at="exit"), np.zeros(3 << 20))
"""


def at_exit(near: Store, far: str, state: str = "up") -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", AT_EXIT, near.url, far, state],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.parametrize("kind", ["disk", "files"])
def test_large_artifacts_on_their_way_are_written_when_the_process_ends(
    near, far, tmp_path, kind
) -> None:
    url = far.url if kind == "disk" else (tmp_path / "files").as_uri()
    assert at_exit(near, url) == ""
    there = open_store(url).recent("sample:op")
    assert [open_store(url).get(record.resolved).nbytes for record in there] == [24 << 20]


def test_process_that_ends_says_why_a_tier_lacks_a_large_artifact(near, far) -> None:
    told = at_exit(near, far.url, "down")
    assert "1 artifact is not in" in told
    assert "made to fail" in told.splitlines()[-1]
    assert "Traceback" not in told


@pytest.mark.parametrize("wrap", [lambda s: LateStore(s.url, s.terms, lambda: s), ReadOnly])
def test_blob_that_was_damaged_on_its_way_is_read_again_also_through_a_wrapper(
    wrap, tmp_path: Path, monkeypatch
) -> None:
    inner = open_store((tmp_path / "far").as_uri())
    record = inner.put(sample_manifest(n=1), b"l" * 40_000)
    arrived, damaged = inner._blobs.read, []

    def first_one_is_damaged(blob, length):
        data = arrived(blob, length)
        damaged.append(blob)
        return bytes(length) if len(damaged) == 1 else data

    monkeypatch.setattr(inner._blobs, "read", first_one_is_damaged)
    store = wrap(inner)
    assert store.exists(record.resolved)
    assert store.get(record.resolved) == b"l" * 40_000
    assert len(damaged) == 2
    assert inner.stats.quarantined == store.stats.quarantined == 0
