"""A disk store is shared by processes, survives being killed, and guards its folder."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import pickle
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from invariant_dask.core.digest import BlobId
from invariant_dask.core.encode import encode
from invariant_dask.errors import (
    ArtifactLostError,
    ArtifactNotFoundError,
    SpecError,
    StoreLayoutError,
    StoreUnavailableError,
)
from invariant_dask.store import About, DiskStore, Store, upkeep
from invariant_dask.store.collecting import GRACE
from invariant_dask.store.folder import LAYOUT
from invariant_dask.store.sizes import HOUR, parse_size
from invariant_dask.testing import sample_manifest, sample_planned, sample_values


def value_of(n: int) -> object:
    """Small ones, arrays with a blob, and lists that are a blob themselves."""
    kinds = [n, [n, np.full(6_000 + n, n)], [n, *range(20_000)]]
    return kinds[n % 3]


def same(left: object, right: object) -> bool:
    return encode(left).storage == encode(right).storage


def write_numbers(path: str, numbers: list[int]) -> None:
    store = DiskStore(path)
    for n in numbers:
        store.put(sample_manifest(n=n), value_of(n))


def blob_files(root: Path) -> list[Path]:
    return sorted((root / "blobs").glob("*/*"))


# --- several processes ---


def test_two_processes_write_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    path = str(tmp_path / "s")
    # The same numbers in opposite order, and some of their own; the folder is made by both.
    jobs = [list(range(150)), list(range(220, 70, -1))]
    workers = [context.Process(target=write_numbers, args=(path, job)) for job in jobs]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    store = DiskStore(path)
    digests = [store.put(sample_manifest(n=n), value_of(n)).resolved for n in (0, 220)]
    records = store.recent("sample:op", limit=1000)
    assert len(records) == 221
    for record in records:
        assert record.manifest
        store.fetch(record)
    assert same(store.get(digests[1]), value_of(220))
    assert store.stats.quarantined == 0
    assert list((tmp_path / "s" / "tmp").iterdir()) == []


def test_reader_sees_what_another_process_wrote_since(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "s")
    digests = [store.put(sample_manifest(n=0), 0).resolved]
    script = (
        "import sys; from invariant_dask.store import DiskStore;"
        "from invariant_dask.testing import sample_manifest;"
        "print(DiskStore(sys.argv[1]).put(sample_manifest(n=1), 'new').resolved.hex())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, store.url], capture_output=True, text=True, check=True
    )
    digests.append(bytes.fromhex(done.stdout.strip()))
    assert len(store.lookup(digests)) == 2


def test_forked_child_and_parent_use_the_same_store(tmp_path: Path) -> None:
    script = """
import os, sys
from invariant_dask.store import DiskStore
from invariant_dask.testing import sample_manifest
store = DiskStore(sys.argv[1])
first = store.put(sample_manifest(n=0), "parent").resolved
children = []
for n in range(1, 4):
    child = os.fork()
    if child == 0:
        assert store.get(first) == "parent"
        for k in range(50):
            store.put(sample_manifest(n=n, k=k), [n, k])
        sys.exit(0)
    children.append(child)
for k in range(50):
    store.put(sample_manifest(n=0, k=k), [0, k])
for child in children:
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert len(store.recent("sample:op", 1000)) == 201
"""
    subprocess.run([sys.executable, "-W", "error", "-c", script, str(tmp_path / "s")], check=True)


# --- being killed ---

WRITER = """
import sys
sys.path.insert(0, sys.argv[2])
from test_disk import value_of
from invariant_dask.store import DiskStore
from invariant_dask.testing import sample_manifest, sample_planned
from invariant_dask.core.encode import encode
from invariant_dask.store import About
store = DiskStore(sys.argv[1])
for n in range(int(sys.argv[3]), 10**6):
    store.publish(
        encode(value_of(n)), sample_manifest(n=n), kind="any", about=About("sample:op"),
        planned=sample_planned(str(n)),
    )
    print(n, flush=True)
"""


def test_killed_writer_loses_nothing_it_had_finished(tmp_path: Path) -> None:
    path = tmp_path / "s"
    finished: list[int] = []
    for attempt in range(6):
        start = len(finished)
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(Path(__file__).parent), str(start)],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert writer.stdout is not None
        for _ in range(5 + 7 * attempt):
            finished.append(int(writer.stdout.readline()))
        # Now it is anywhere in the next put.
        writer.send_signal(signal.SIGKILL)
        finished += map(int, writer.stdout.read().split())
        writer.wait()
        writer.stdout.close()
    assert finished == list(range(len(finished)))
    store = DiskStore(path)
    for n in finished:
        assert same(store.get(sample_planned(str(n))), value_of(n))
    # At most one more per kill, and that one whole too.
    records = store.recent("sample:op", limit=10_000)
    assert len(records) <= len(finished) + 6
    for record in records:
        store.fetch(record)
    assert store.stats.quarantined == 0


# --- the folder ---


def test_layout_is_as_documented(tmp_path: Path) -> None:
    root = tmp_path / "s"
    store = DiskStore(root)
    record = store.put(sample_manifest(), b"x" * 40_000)
    token = store.ref().token
    assert not list((root / "tokens").iterdir())
    pickle.dumps(store.ref())
    assert {path.name for path in root.iterdir()} >= {
        "LAYOUT", "index.sqlite", "blobs", "tmp", "quarantine", "tokens", ".gitignore",
    }  # fmt: skip
    assert json.loads((root / "LAYOUT").read_text())["layout"] == LAYOUT
    name = record.blobs[0][0].hex()
    assert blob_files(root) == [root / "blobs" / name[:2] / name[2:]]
    assert blob_files(root)[0].read_bytes() == b"x" * 40_000
    assert (root / "tokens" / token).is_file()
    assert (root / ".gitignore").read_text() == "*\n"


def test_small_artifacts_make_no_files(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "s")
    for n in range(20):
        store.put(sample_manifest(n=n), "x" * 1000)
    assert blob_files(tmp_path / "s") == []


def test_equal_blobs_are_stored_once(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "s")
    for n in range(5):
        store.put(sample_manifest(n=n), [n, b"x" * 40_000])
    assert len(blob_files(tmp_path / "s")) == 1


def test_large_blob_is_mapped_and_outlives_its_file(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "s")
    array = np.arange(400_000)
    record = store.put(sample_manifest(), array)
    _, blobs = store.fetch(record)
    (buffer,) = blobs.values()
    assert isinstance(buffer, memoryview)
    assert type(buffer.obj).__name__ == "mmap"
    assert buffer.readonly
    blob_files(tmp_path / "s")[0].unlink()
    assert bytes(buffer) == array.tobytes()
    assert not store.exists(record.resolved)


def test_path_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreLayoutError, match="is a file"):
        DiskStore(tmp_path / "file")


def test_folder_of_somebody_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(StoreLayoutError, match=r"notes\.txt"):
        DiskStore(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_empty_folder_and_one_left_by_a_killed_process_are_taken(tmp_path: Path) -> None:
    DiskStore(tmp_path).put(sample_manifest(), 1)
    other = tmp_path.parent / (tmp_path.name + "-killed")
    other.mkdir()
    (other / "LAYOUT.0123").write_text("{")
    DiskStore(other).put(sample_manifest(), 1)


@pytest.mark.parametrize("version", [0, LAYOUT - 1, LAYOUT + 1, "one"])
def test_other_layout_version_is_refused_with_both_versions(
    tmp_path: Path, version: object
) -> None:
    DiskStore(tmp_path / "s").close()
    (tmp_path / "s" / "LAYOUT").write_text(json.dumps({"layout": version}))
    with pytest.raises(StoreLayoutError, match=f"version {version}.*knows version {LAYOUT}"):
        DiskStore(tmp_path / "s")


def test_unreadable_layout_is_refused(tmp_path: Path) -> None:
    DiskStore(tmp_path / "s").close()
    for text in ("", "[]", "{}"):
        (tmp_path / "s" / "LAYOUT").write_text(text)
        with pytest.raises(StoreLayoutError, match="LAYOUT"):
            DiskStore(tmp_path / "s")


def test_damaged_index_is_refused_with_the_cure(tmp_path: Path) -> None:
    DiskStore(tmp_path / "s").close()
    (tmp_path / "s" / "index.sqlite").write_bytes(b"not a database, but long enough" * 100)
    with pytest.raises(StoreLayoutError, match="remove it together"):
        DiskStore(tmp_path / "s")


def test_damaged_index_whose_error_cannot_be_read_is_refused_with_the_cure(tmp_path: Path) -> None:
    DiskStore(tmp_path / "s").close()
    with contextlib.closing(sqlite3.connect(tmp_path / "s" / "index.sqlite")) as index, index:
        index.execute("PRAGMA writable_schema=ON")
        index.execute(
            "UPDATE sqlite_master SET name = CAST(X'FFFE' AS TEXT), sql = 'CREATE TABLE (' "
            "WHERE name = 'blobs'"
        )
    with pytest.raises(StoreLayoutError, match="remove it together"):
        DiskStore(tmp_path / "s")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users can reach."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_folder_that_cannot_be_written_is_a_typed_error(open_folder: Path) -> None:
    existing = open_folder / "existing"
    DiskStore(existing)
    existing.chmod(0o000)
    (open_folder / "locked").mkdir(mode=0o555)
    open_folder.chmod(0o555)
    script = """
import os, sys
from invariant_dask.errors import StoreUnavailableError
from invariant_dask.store import DiskStore
if os.geteuid() == 0:  # for whom nothing is locked
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
for path in sys.argv[1:]:
    try:
        DiskStore(path)
    except StoreUnavailableError as error:
        assert isinstance(error, OSError)
        print("refused", path in str(error))
"""
    paths = [str(open_folder / name) for name in ("existing", "locked", "absent")]
    done = subprocess.run(
        [sys.executable, "-c", script, *paths],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    open_folder.chmod(0o755)
    assert done.stdout.splitlines() == ["refused True"] * 3


def test_abandoned_tokens_and_partial_files_go_when_the_store_is_opened(tmp_path: Path) -> None:
    root = tmp_path / "s"
    store = DiskStore(root)
    token = store.ref().token
    store.ref().show()
    ancient = time.time() - 8 * 86_400
    for name in ("tokens/old", "tmp/old", "tokens/new", "tmp/new"):
        (root / name).write_text("{}")
        if name.endswith("old"):
            os.utime(root / name, (ancient, ancient))
    DiskStore(root)
    assert {path.name for path in (root / "tokens").iterdir()} == {token, "new"}
    assert {path.name for path in (root / "tmp").iterdir()} == {"new"}


def test_store_whose_folder_was_removed_makes_it_anew_and_says_so(tmp_path, caplog) -> None:
    store = DiskStore(tmp_path / "s")
    before = store.put(sample_manifest(n=1), 1).resolved
    token = store.ref().token
    shutil.rmtree(tmp_path / "s")
    assert store.ref().token != token
    assert "removed or replaced" in caplog.text
    after = store.put(sample_manifest(n=2), 2).resolved
    assert DiskStore(tmp_path / "s").lookup([before, after]).keys() == {after}


# The interrupt comes at the worst moment: the transaction has begun, and nobody knows yet.
INTERRUPTED = """
import os, signal, sqlite3, sys, time
from invariant_dask.store import DiskStore, index
from invariant_dask.testing import sample_manifest

store, other = DiskStore(sys.argv[1]), DiskStore(sys.argv[1])
delete = index.delete_entry
def interrupt(sql, digest):
    index.delete_entry = delete
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(10)
index.delete_entry = interrupt
digest = store.put(sample_manifest(n=1), 1).resolved
try:
    store.invalidate(digest)
except KeyboardInterrupt:
    print("interrupted")
print(other.get(digest), other.get(store.put(sample_manifest(n=2), 2).resolved))
print(store.invalidate(digest), other.exists(digest))
connection = store._index._connections.writer
connection.execute("BEGIN IMMEDIATE")
print(other.get(store.put(sample_manifest(n=3), 3).resolved))
"""


def test_interrupt_leaves_no_lock_and_no_transaction_behind(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path / "s")],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["interrupted", "1 2", "1 False", "3"]


def test_damaged_things_are_kept_for_a_look_but_not_without_end(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "s")
    for n in range(120):
        store._quarantine_blob(store.write_blob(b"x%d" % n))
    kept = sorted(path.name for path in (tmp_path / "s" / "quarantine").iterdir())
    assert len(kept) == 100
    newest = store.write_blob(b"x119")
    assert kept[-1].endswith(f"{newest.hex()}.blob")


def test_entry_replaced_by_a_good_one_is_not_set_aside(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "s")
    record = store.put(sample_manifest(), 1)
    store._quarantine_entry(record.resolved, b"what was read before")
    assert store.exists(record.resolved)
    assert list((tmp_path / "s" / "quarantine").iterdir()) == []


def test_truncated_blob_is_a_miss(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "s")
    record = store.put(sample_manifest(), b"x" * 2_000_000)
    (file,) = blob_files(tmp_path / "s")
    file.chmod(0o644)
    os.truncate(file, 0)
    assert not store.exists(record.resolved)
    with pytest.raises(ArtifactLostError):
        store.fetch(record)
    store.put(sample_manifest(), b"x" * 2_000_000)
    assert store.get(record.resolved) == b"x" * 2_000_000


def test_truncated_blob_is_written_again_when_it_is_published(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "s")
    store.put(sample_manifest(), b"x" * 2_000_000)
    (file,) = blob_files(tmp_path / "s")
    file.chmod(0o644)
    os.truncate(file, 5)
    digest = store.put(sample_manifest(), b"x" * 2_000_000).resolved
    assert store.get(digest) == b"x" * 2_000_000


@pytest.mark.parametrize("size", [40_000, 3_000_000])
def test_damaged_blob_is_written_again_when_it_is_published(size: int, tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "s")
    value = np.full(size, 7, "u1")
    store.put(sample_manifest(), value)
    (file,) = blob_files(tmp_path / "s")
    file.chmod(0o644)
    with file.open("r+b") as damaged:
        damaged.seek(size - 1)
        damaged.write(b"\0")
    record = store.put(sample_manifest(n=2), value)
    assert same(store.get(record.resolved), value)


def test_blob_files_cannot_be_written_by_mistake(tmp_path: Path) -> None:
    DiskStore(tmp_path / "s").put(sample_manifest(), b"x" * 40_000)
    (file,) = blob_files(tmp_path / "s")
    assert file.stat().st_mode & 0o222 == 0


def test_all_sample_values_survive_reopening(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "s")
    digests = {
        name: store.put(sample_manifest(name=name), value).resolved
        for name, value in sample_values().items()
    }
    store.close()
    again = DiskStore(tmp_path / "s")
    for name, value in sample_values().items():
        assert same(again.get(digests[name]), value)


def test_store_that_vanishes_is_a_typed_error(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "s")
    shutil.rmtree(tmp_path / "s")
    (tmp_path / "s").write_text("a file now")
    with pytest.raises(StoreUnavailableError):
        store.put(sample_manifest(), b"x" * 40_000)


# --- making room ---


def age(store: Store, seconds: int) -> None:
    """Make everything in a store older than it is."""
    connection = sqlite3.connect(Path(store.url, "index.sqlite"), isolation_level=None)
    connection.execute("UPDATE entries SET used = used - ?", (seconds * 10**9,))
    connection.execute("UPDATE blobs SET written = written - ?", (seconds * 10**9,))
    connection.close()


def folder_size(root: Path) -> int:
    return sum(path.stat().st_size for path in blob_files(root))


def test_least_recently_used_artifacts_make_room(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "s", size_limit=1_000_000)
    digests = []
    for n in range(9):
        digests.append(store.put(sample_manifest(n=n), bytes((n,)) * 100_000).resolved)
    assert store.stats.evicted == 0
    age(store, 3600)
    store.lookup(digests[:2])
    store.close()
    age(store, 3600)
    for n in range(9, 12):
        digests.append(store.put(sample_manifest(n=n), bytes((n,)) * 100_000).resolved)
    found = store.lookup(digests)
    assert folder_size(tmp_path / "s") <= 1_000_000
    # Twice two went: to nine tenths of the limit each time, the used ones last.
    assert found.keys() == {*digests[:2], *digests[6:]}
    assert store.stats.evicted == 4


def test_fast_writer_stays_within_the_limit_by_its_own_oldest(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "s", size_limit="300 kB")
    digests = [store.put(sample_manifest(n=n), bytes((n,)) * 50_000).resolved for n in range(40)]
    assert folder_size(tmp_path / "s") <= 300_000
    found = store.lookup(digests)
    assert digests[-1] in found
    assert store.get(digests[-1]) == bytes((39,)) * 50_000
    assert list(found) == digests[-len(found) :]


def test_small_artifacts_make_room_too(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "s", size_limit=100_000)
    for n in range(500):
        store.put(sample_manifest(n=n), "x" * 1000)
    assert store._index.total_size() <= 100_000 * 33 // 32


def test_blob_shared_with_a_kept_artifact_stays(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "s", size_limit=400_000)
    shared = b"s" * 100_000
    old = store.put(sample_manifest(n=0), [0, shared, "x" * 5000]).resolved
    age(store, 7200)
    young = store.put(sample_manifest(n=1), [1, shared]).resolved
    other = store.put(sample_manifest(n=2), b"o" * 297_000).resolved
    found = store.lookup([old, young, other])
    assert old not in found
    assert store.get(young) == [1, shared]


def test_reader_keeps_what_is_evicted_under_it(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "s", size_limit=4_000_000)
    record = store.put(sample_manifest(n=0), b"r" * 2_000_000)
    _, blobs = store.fetch(record)
    age(store, 3600)
    store.put(sample_manifest(n=1), b"w" * 3_000_000)
    assert not store.exists(record.resolved)
    (buffer,) = blobs.values()
    assert bytes(buffer) == b"r" * 2_000_000


def test_blob_that_no_entry_refers_to_goes_after_its_grace(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "s", size_limit=1_000_000)
    old = store.write_blob(b"f" * 400_000)
    age(store, HOUR // 10**9 + 1)
    young = store.write_blob(b"g" * 400_000)
    kept = store.put(sample_manifest(), b"h" * 400_000).resolved
    assert store.read_blob(old, 400_000) is None
    assert store.read_blob(young, 400_000) is not None
    assert store.exists(kept)


def test_record_is_not_written_when_its_blob_was_evicted_meanwhile(tmp_path: Path) -> None:
    root = tmp_path / "s"
    store = DiskStore(root)

    class Unlucky(DiskStore):
        """Loses its blobs once between writing them and writing the record."""

        unlucky = True

        def _write_blobs(self, blobs: object) -> None:
            super()._write_blobs(blobs)  # type: ignore[arg-type]
            if self.unlucky:
                self.unlucky = False
                store._index.transact(lambda sql: sql.execute("DELETE FROM blobs"))
                for path in blob_files(root):
                    path.unlink()

    digest = Unlucky(root).put(sample_manifest(), b"x" * 40_000).resolved
    assert store.get(digest) == b"x" * 40_000


def test_threads_that_write_over_the_limit_lose_nothing_they_still_hold(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "s", size_limit=500_000)
    wrong: list[int] = []

    def work(thread: int) -> None:
        for n in range(25):
            value = bytes((thread, n)) * 20_000
            record = store.put(sample_manifest(thread=thread, n=n), value)
            try:
                seen = store.get(record.resolved)
            except ArtifactNotFoundError:
                continue  # another thread needed the room: a miss, never another value
            if seen != value:
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert store.stats.quarantined == 0
    assert folder_size(tmp_path / "s") <= 600_000


def test_use_is_noted_at_most_once_a_minute_and_when_closing(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "s", size_limit="1MB")
    digest = store.put(sample_manifest(), 1).resolved
    age(store, 1000)

    def used() -> int:
        connection = sqlite3.connect(Path(store.url, "index.sqlite"), isolation_level=None)
        (value,) = connection.execute("SELECT used FROM entries").fetchone()
        connection.close()
        return int(value)

    before = used()
    for _ in range(5):
        store.lookup([digest])
    assert list(store._to_mark) == [digest]
    assert used() == before
    store.close()
    assert used() > before + GRACE


@pytest.mark.parametrize(
    ("text", "size"),
    [(5, 5), ("5", 5), ("10GB", 10**10), ("1.5 kB", 1500), ("512 MiB", 2**29), ("2t", 2 * 10**12)],
)
def test_size_is_read_from_text(text: int | str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", [0, -1, True, "", "GB", "ten", "1 XB", "0", 1.5])
def test_size_that_makes_no_sense_is_refused(text: object, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="size_limit"):
        DiskStore(tmp_path / "s", size_limit=text)  # type: ignore[arg-type]


def test_statistics_of_a_store_are_its_own_and_pickling_keeps_it(tmp_path: Path) -> None:
    first, second = DiskStore(tmp_path / "s"), DiskStore(tmp_path / "s")
    first.put(sample_manifest(), 1)
    assert (first.stats.puts, second.stats.puts) == (1, 0)
    assert pickle.loads(pickle.dumps(first)) is first


def test_claim_is_committed_with_its_record(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "s")
    inputs = [(sample_planned("in"), encode(1).hash)]
    store.publish(
        encode([1]), sample_manifest(), kind="list", about=About("sample:op"),
        planned=sample_planned("a"), inputs=inputs,
    )  # fmt: skip
    found = DiskStore(tmp_path / "s").lookup([sample_planned("a")])[sample_planned("a")]
    assert found.entry is not None
    assert list(found.entry.inputs) == inputs


def test_blob_id_says_where_a_blob_is(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "s")
    assert store._blobs.path_of(BlobId(bytes(32))) == tmp_path / "s" / "blobs" / "00" / ("00" * 31)


def test_blob_of_another_length_is_damaged_and_not_gone_and_is_set_aside(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "s")
    record = store.put(sample_manifest(), bytes(40_000))
    ((blob, _),) = record.parts
    path = store.keeper().path_of(blob)
    path.chmod(0o600)
    os.truncate(path, 1000)
    expected = f"damaged: blob {blob.hex()[:12]}: it has 1000 bytes and not 40000"
    assert not store.exists(record.resolved)
    assert store.why(record.resolved) == expected
    (damage,) = upkeep.verify(store).damage
    assert damage.reason == expected
    assert not path.exists()
    assert [(seen.digest, seen.what) for seen in store.keeper().aside()] == [(blob, "blob")]
    assert not store.exists(record.resolved)
    assert store.why(record.resolved) == expected, "that is why it is not there"
    store.put(sample_manifest(), bytes(40_000))
    assert store.get(record.resolved) == bytes(40_000)
    store._quarantine_blob(blob)
    assert not store.exists(record.resolved)
    assert store.why(record.resolved) == f"lost: blob {blob.hex()[:12]} is not there"


def test_sound_blob_is_left_alone_by_who_expects_another_length(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "s")
    blob = store.write_blob(bytes(40_000))
    assert store.read_blob(blob, 50_000) is None
    assert store.stats.quarantined == 0
    assert store.read_blob(blob, 40_000) == bytes(40_000)
