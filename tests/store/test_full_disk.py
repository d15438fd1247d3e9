"""A full disk costs what could not be kept, and nothing else."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from services.small_disks import empty, fill_bytes, fill_files, mounted
from torture import jobs
from torture.killing import check_whole
from torture.runs import made_by, stored_in

from invariant_dask.core.encode import encode
from invariant_dask.errors import StoreUnavailableError
from invariant_dask.store import DiskStore, Store, open_store, upkeep
from invariant_dask.store.evictions import evictions
from invariant_dask.store.sizes import HOUR
from invariant_dask.testing import damage_blob, sample_manifest


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 48 MB and six thousand files."""
    with mounted(tmp_path / "small", size=48 << 20, files=6000) as folder:
        yield folder


FILLS = {
    "no room": (fill_bytes, 0),
    "room for some": (fill_bytes, 3 << 20),
    "no more files": (fill_files, 0),
    "some more files": (fill_files, 20),
}


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("kind", ["disk", "files"])
def test_full_disk_keeps_no_run_from_its_results_and_leaves_nothing_half(
    kind: str, fill: str, small_disk: Path, tmp_path: Path
) -> None:
    path = small_disk / "store"
    url = str(path) if kind == "disk" else path.as_uri()
    store = open_store(url)
    jobs.put(store, "blobs")
    use_up: Callable[[Path, int], None]
    use_up, spare = FILLS[fill]
    use_up(small_disk, spare)
    log = tmp_path / "log"
    with pytest.warns(UserWarning, match="not all results are where they belong") as told:
        results = jobs.run(store, str(log))
    assert all(
        encode(value) == encode(jobs.value_of(int(name[1:]))) for name, value in results.items()
    )
    assert len(made_by(log)) == jobs.NODES
    assert re.search("No space left|full", str(told[0].message))
    # As full as it is, it can be read, by those who open it now too.
    assert check_whole(open_store(url)) < 2 * jobs.NODES
    empty(small_disk)
    again = open_store(url)
    check_whole(again)
    kept = stored_in(again)
    assert len(kept) < jobs.NODES
    log.write_text("")
    jobs.run(store, str(log))
    assert kept.isdisjoint(made_by(log))
    log.write_text("")
    assert jobs.run(open_store(url), str(log)).keys() == results.keys()
    assert made_by(log) == []
    assert check_whole(open_store(url)) > len(kept)


@pytest.mark.parametrize("kind", ["disk", "files"])
def test_store_on_a_disk_without_room_is_read_and_room_is_made_in_it(
    kind: str, small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = small_disk / "store"
    url = str(path) if kind == "disk" else path.as_uri()

    def opened() -> Store:
        gc.collect()  # so that nobody holds a store that was opened when there was room
        return open_store(url)

    store = opened()
    digests = [
        store.put(sample_manifest(n=n), [n, bytes([n]) * 300_000]).resolved for n in range(4)
    ]
    upkeep.pin(store, digests[0])
    store.close()
    del store
    fill_bytes(small_disk, 0)

    store = opened()
    assert [store.get(digest)[0] for digest in digests] == [0, 1, 2, 3]
    assert upkeep.overview(store).records == 4
    assert upkeep.verify(store).is_sound
    with pytest.raises(StoreUnavailableError, match="No space left"):
        store.put(sample_manifest(n=9), [9, b"y" * 300_000])
    if kind == "disk":
        assert "No space left" in caplog.text
    assert upkeep.collect(store, keep_last=0, grace=0, dry_run=True).count("record") == 3
    assert store.get(digests[3])[0] == 3

    keeper = store.keeper()
    assert keeper is not None
    later = keeper.now() + 24 * HOUR
    keeper.clock = lambda: later
    report = upkeep.collect(store, keep_last=0, grace=0)
    assert report.count("record") == 3
    assert report.count("blob") == 3
    assert evictions(store).keys() == set(digests[1:])
    store.close()
    del store, keeper
    store = opened()
    assert store.put(sample_manifest(n=9), [9, b"y" * 300_000])
    assert [store.exists(digest) for digest in digests] == [True, False, False, False]
    assert upkeep.verify(store).is_sound


def test_what_was_set_aside_makes_way_on_a_full_disk_and_is_told(small_disk: Path) -> None:
    store = DiskStore(small_disk / "store")
    digests = [store.put(sample_manifest(n=n), [n, bytes([n]) * 300_000]).resolved for n in (0, 1)]
    damage_blob(store, *store.lookup([digests[0]])[digests[0]].record.parts[0])
    assert not upkeep.verify(store).is_sound
    store.close()
    fill_bytes(small_disk, 0)

    full = DiskStore(small_disk / "store")
    told = upkeep.overview(full)
    assert told.lost == 1
    assert told.aside
    keeper = upkeep.keeper_of(full)
    later = keeper.now() + 24 * HOUR
    keeper.clock = lambda: later
    planned = upkeep.collect(full, keep_last=0, grace=0, dry_run=True)
    report = upkeep.collect(full, keep_last=0, grace=0)
    assert report.removals == planned.removals
    assert report.freed == told.size + told.size_of_aside
    assert {each.digest: each.why for each in report.removals if each.what == "record"} == {
        digests[0]: "its blob is gone",
        digests[1]: "not among the latest 0 of its op",
    }
    assert report.count("set aside") == told.aside
    assert evictions(full).keys() == {digests[1]}
    assert upkeep.overview(full).size_of_aside == 0


def test_disk_without_room_in_which_nothing_may_go_says_so(small_disk: Path) -> None:
    store = DiskStore(small_disk / "store")
    digest = store.put(sample_manifest(), [b"x" * 300_000]).resolved
    upkeep.pin(store, digest)
    store.close()
    fill_bytes(small_disk, 0)
    full = DiskStore(small_disk / "store")
    with pytest.raises(StoreUnavailableError, match="No space left"):
        upkeep.write_budget(upkeep.keeper_of(full), upkeep.Budget(1))
    assert upkeep.collect(full, keep_last=0, grace=0).removals == []
    assert full.get(digest) == [b"x" * 300_000]
