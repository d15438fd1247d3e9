"""Large arrays are hashed while they are written, and what is stored is what was hashed."""

from __future__ import annotations

import errno
import gc
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from invariant_dask import Graph, compile, op
from invariant_dask.core.decode import decode
from invariant_dask.core.digest import LEAF_SIZE, blob_id, each_leaf
from invariant_dask.core.encode import Encoded, encode
from invariant_dask.errors import NotCacheableError
from invariant_dask.store import About, DiskStore, spool
from invariant_dask.store.record import Record
from invariant_dask.store.spool import Spool
from invariant_dask.testing import sample_manifest

BIG = np.arange(LEAF_SIZE, dtype="<u4").reshape(1024, 1024)  # 4 leaves
ARRAYS = {
    "contiguous": BIG,
    "of odd length": np.arange(5 * LEAF_SIZE + 3, dtype=np.uint8),
    "columns first": np.asfortranarray(BIG),
    "with steps": BIG[::-1, ::2],
    "other byte order": BIG.astype(">u4"),
    "moments": BIG.astype("<M8[s]"),
    "text": np.full(LEAF_SIZE, "ab"),
    "not writable": np.frombuffer(bytes(2 * LEAF_SIZE), "<i2"),
    "small": np.arange(10),
    "of middle size": np.arange(10_000),
    "empty": np.zeros((0, 3)),
    "of no dimension": np.array(5),
}


def waiting(store: DiskStore) -> list[Path]:
    return sorted(Path(store.url, "tmp").iterdir())


def stored(store: DiskStore) -> list[Path]:
    return sorted(Path(store.url, "blobs").glob("*/*"))


def publish(store: DiskStore, encoded: Encoded) -> Record:
    return store.publish(encoded, sample_manifest(), kind="ndarray", about=About("sample:op"))


@pytest.fixture
def store(tmp_path: Path) -> DiskStore:
    return DiskStore(tmp_path / "s")


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS.keys())
def test_a_store_encodes_as_everybody_does(store, array) -> None:
    for value in (array, [array, {"a": (array, 1)}]):
        ours, plain = store.encode(value), encode(value)
        assert (ours.identity, ours.storage, ours.hash) == (
            plain.identity, plain.storage, plain.hash,
        )  # fmt: skip
        assert ours.size == plain.size
        assert {blob: bytes(data) for blob, data in ours.blobs.items()} == plain.blobs


def test_an_array_is_moved_into_place_and_not_copied(store) -> None:
    encoded = store.encode(BIG)
    (partial,) = waiting(store)
    assert stored(store) == []
    inode = partial.stat().st_ino
    record = publish(store, encoded)
    assert waiting(store) == []
    (file,) = stored(store)
    assert file.stat().st_ino == inode
    assert file.stat().st_mode & 0o777 == 0o444
    assert np.array_equal(store.get(record.resolved), BIG)


def test_what_the_owner_does_to_the_array_later_changes_nothing(store) -> None:
    array = BIG.copy()
    encoded = store.encode(array)
    array[:] = 0
    record = publish(store, encoded)
    assert np.array_equal(store.get(record.resolved), BIG)


def test_what_is_hashed_is_what_is_in_the_file_even_if_the_array_changes_meanwhile(store) -> None:
    array = np.zeros(16 * LEAF_SIZE, np.uint8)
    ended = threading.Event()

    def scribble() -> None:
        while not ended.is_set():
            array[::4096] += 1

    thread = threading.Thread(target=scribble)
    thread.start()
    try:
        encoded = store.encode(array)
    finally:
        ended.set()
        thread.join()
    publish(store, encoded)
    (file,) = stored(store)
    (blob,) = encoded.blobs
    assert blob_id(file.read_bytes()) == blob
    assert file.parent.name + file.name == blob.hex()


def test_nobody_can_write_to_what_was_set_aside(store) -> None:
    encoded = store.encode(BIG)
    array = decode(encoded.storage, fetch=lambda blob, _: encoded.blobs[blob])
    (buffer,) = encoded.blobs.values()
    assert type(buffer.obj).__name__ == "mmap"
    with pytest.raises(ValueError, match="WRITEABLE"):
        array.flags.writeable = True
    below = array.base
    while below is not None:
        assert memoryview(below).readonly
        below = below.obj if isinstance(below, memoryview) else getattr(below, "base", None)


def test_what_is_not_published_goes(store) -> None:
    encoded = store.encode([BIG, BIG + 1])
    assert len(waiting(store)) == 2
    del encoded
    gc.collect()
    assert waiting(store) == stored(store) == []


def test_a_value_that_cannot_be_encoded_leaves_nothing_and_names_the_path(store) -> None:
    with pytest.raises(NotCacheableError) as caught:
        store.encode({"a": [BIG, {1}]})
    assert "$.a[1]" in str(caught.value)
    with pytest.raises(NotCacheableError, match="Python objects"):
        store.encode([np.array([{}])])
    del caught
    gc.collect()
    assert waiting(store) == []


def test_an_array_that_is_stored_already_does_not_wait(store) -> None:
    publish(store, store.encode(BIG))
    encoded = store.encode(BIG)
    record = publish(store, encoded)
    assert waiting(store) == []
    assert len(stored(store)) == 1
    assert np.array_equal(store.get(record.resolved), BIG)


def test_equal_arrays_are_stored_once(store) -> None:
    record = publish(store, encoded := store.encode([BIG, BIG.copy()]))
    assert len(stored(store)) == 1
    assert len(store.get(record.resolved)) == 2
    del encoded
    gc.collect()
    assert waiting(store) == []


def test_a_file_that_somebody_tidied_up_is_written_again(store) -> None:
    encoded = store.encode(BIG)
    waiting(store)[0].unlink()
    record = publish(store, encoded)
    assert np.array_equal(store.get(record.resolved), BIG)


def test_a_full_disk_is_told_when_publishing_and_the_artifact_is_in_memory(
    store, monkeypatch
) -> None:
    def full(*_args: object) -> int:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(spool.os, "pwrite", full)
    encoded = store.encode(BIG)
    assert waiting(store) == []
    assert encoded == encode(BIG)


def test_a_file_system_that_cannot_reserve_space_will_do(store, monkeypatch) -> None:
    def unsupported(*_args: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "not supported")

    monkeypatch.setattr(spool.os, "posix_fallocate", unsupported, raising=False)
    encoded = store.encode(BIG)
    assert len(waiting(store)) == 1
    assert encoded == encode(BIG)


def test_too_many_maps_are_not_made(store, monkeypatch) -> None:
    monkeypatch.setattr(spool, "_MOST_MAPS", 0)
    assert store.encode(BIG) == encode(BIG)


def test_a_child_process_leaves_the_files_of_its_parent_alone(tmp_path) -> None:
    files = Spool(tmp_path)
    blob, kept = files.add(memoryview(BIG).cast("B"))
    (path,) = tmp_path.iterdir()
    spool._discard({blob: path}, blob, path, os.getpid() + 1)
    assert path.exists()
    del kept
    gc.collect()
    assert not path.exists()


def test_an_error_at_one_leaf_is_an_error_of_all() -> None:
    def work(start: int) -> bytes:
        if start == 7 * LEAF_SIZE:
            raise OSError(errno.EIO, "bad")
        return b""

    with pytest.raises(OSError, match="bad"):
        each_leaf(20 * LEAF_SIZE, work)
    assert each_leaf(20 * LEAF_SIZE, lambda at: bytes([at // LEAF_SIZE])) == [
        bytes([leaf]) for leaf in range(20)
    ]


@op("spool:counted")
def counted(items):
    return np.arange(items)


def test_put_and_the_runtime_let_the_store_encode(store, monkeypatch) -> None:
    added = []

    def add(self: Spool, view: memoryview) -> object:
        added.append(len(view))
        return plain_add(self, view)

    plain_add = Spool.add
    monkeypatch.setattr(Spool, "add", add)
    store.put(sample_manifest(), BIG)
    assert added == [BIG.nbytes]
    graph = {"kept": counted.node(items=1_000_000)}
    result = compile(graph, store=store).compute(scheduler="sync")
    assert np.array_equal(result, np.arange(1_000_000))
    assert added == [BIG.nbytes, 8_000_000]
    assert waiting(store) == []
    # What is never stored need not be written.
    passing = Graph()
    passing.add("passing", counted, items=1_000_001, cache=False)
    assert len(compile(passing, store=store).compute(scheduler="sync")) == 1_000_001
    assert len(added) == 2
