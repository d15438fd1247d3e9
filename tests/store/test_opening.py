"""Stores open by text, by path and by reference, and only where they can be seen."""

from __future__ import annotations

import gc
import pickle
import shutil
import subprocess
import sys
import weakref
from pathlib import Path

import pytest

from invariant_dask.errors import SpecError
from invariant_dask.store import DiskStore, MemoryStore, NullStore, Store, open_store
from invariant_dask.testing import CountingStore, sample_manifest

# Opens a pickled reference in a process of its own and says what happened.
OPEN = """
import pickle, sys
from invariant_dask.errors import StoreNotSharedError
ref = pickle.loads(bytes.fromhex(sys.argv[1]))
try:
    store = ref.open()
except StoreNotSharedError as error:
    print("not shared:", error)
else:
    assert ref.open() is store
    print(type(store).__name__, sorted(r.about.op for r in store.recent("sample:op")))
"""


def open_elsewhere(store: Store | bytes) -> str:
    data = (store if isinstance(store, bytes) else pickle.dumps(store.ref())).hex()
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", OPEN, data],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


def test_disk_store_is_seen_by_another_process(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "s")
    store.put(sample_manifest(), 1)
    assert open_elsewhere(store) == "DiskStore ['sample:op']\n"


def test_folder_without_the_token_is_another_store(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "s")
    ref = store.ref()
    ref.show()
    (tmp_path / "s" / "tokens" / ref.token).unlink()
    assert "use a folder that all workers share" in open_elsewhere(store)


def test_absent_folder_is_not_made(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "s")
    sent = pickle.dumps(store.ref())
    store.close()
    shutil.rmtree(tmp_path / "s")
    assert open_elsewhere(sent).startswith("not shared: this process")
    assert not (tmp_path / "s").exists()


def test_reference_to_a_collected_disk_store_opens_it_again(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "s", size_limit="1MB")
    ref, digest = store.ref(), store.put(sample_manifest(), "x").resolved
    del store
    again = ref.open()
    assert again.get(digest) == "x"
    assert again is ref.open()
    assert isinstance(again, DiskStore)
    assert again._limit == 1_000_000


def test_memory_store_is_seen_in_its_own_process_only() -> None:
    store = MemoryStore()
    assert store.is_process_local
    assert store.ref().open() is store
    assert "process that made it" in open_elsewhere(store)


def test_null_store_is_everywhere() -> None:
    assert open_elsewhere(NullStore()) == "NullStore []\n"


def test_counting_store_is_what_its_reference_opens(tmp_path: Path) -> None:
    store = CountingStore(DiskStore(tmp_path / "s"))
    opened = store.ref().open()
    opened.lookup([b"x" * 32])
    assert store.looked_up == [b"x" * 32]
    assert open_elsewhere(store) == "DiskStore []\n"


def test_forked_child_does_not_take_a_copy_for_the_store() -> None:
    script = """
import os
from invariant_dask.errors import StoreNotSharedError
from invariant_dask.store import MemoryStore
store = MemoryStore()
ref = store.ref()
child = os.fork()
if child == 0:
    try:
        ref.open()
    except StoreNotSharedError:
        os._exit(7)
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert ref.open() is store
"""
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True)


def test_stores_open_by_what_people_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("INVARIANT_STORE", raising=False)
    assert open_store().url == str(tmp_path / ".invariant")
    assert open_store("a/b").url == str(tmp_path / "a" / "b")
    assert open_store(tmp_path / "c").url == str(tmp_path / "c")
    assert open_store("disk:d:e").url == str(tmp_path / "d:e")
    assert isinstance(open_store("memory:"), MemoryStore)
    assert isinstance(open_store("null:"), NullStore)
    store = MemoryStore()
    assert open_store(store) is store
    monkeypatch.setenv("INVARIANT_STORE", "null:")
    assert isinstance(open_store(), NullStore)


def test_path_names_one_store_for_as_long_as_it_lives(tmp_path: Path) -> None:
    path = tmp_path / "s"
    store = open_store(path)
    assert open_store(str(path)) is store
    assert open_store(f"disk:{path}") is store
    shutil.rmtree(path)
    other = open_store(path)
    assert other is not store
    resolved = other.put(sample_manifest(), 1).resolved
    assert open_store(path).get(resolved) == 1
    gone = weakref.ref(other)
    gc.disable()
    try:
        del other
        assert gone() is None, "something keeps the store, and its open files"
    finally:
        gc.enable()


def test_path_is_taken_where_the_store_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = DiskStore("s")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    store.put(sample_manifest(), b"x" * 40_000)
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize(
    "where", ["s4://bucket", "memory:x", "disk:", "", 5, b"path", [["a"]], [None]]
)
def test_what_is_no_store_is_refused(where: object) -> None:
    with pytest.raises(SpecError, match="memory:, null:, disk:PATH"):
        open_store(where)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "other", [{"namespace": "b"}, {"secret": "other"}, {"endpoint_url": "http://127.0.0.1:7"}]
)
def test_tiers_that_cannot_be_used_yet_are_the_same_only_if_opened_in_the_same_way(
    other, tmp_path
) -> None:
    away = {
        "url": "s3://bucket/x", "namespace": "a", "endpoint_url": "http://127.0.0.1:9",
        "key": "k", "secret": "s", "timeout": 0.2,
    }  # fmt: skip
    first = open_store([tmp_path / "near", away])
    assert open_store([tmp_path / "near", away]) is first
    second = open_store([tmp_path / "near", away | other])
    assert second is not first
    assert "secret" not in repr(second)
    if "namespace" in other:
        assert second.place != first.place
