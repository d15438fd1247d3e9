"""A full disk costs what could not be kept, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from services.small_disks import empty, fill_bytes, fill_files, mounted
from torture import jobs
from torture.killing import check_whole
from torture.runs import made_by, stored_in

from invariant_dask.core.encode import encode
from invariant_dask.store import open_store


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
