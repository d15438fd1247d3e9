"""Start a job, kill it at a chosen moment, and look at what it left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from invariant_dask.core.digest import BlobId, blob_id
from invariant_dask.store import DiskStore, Store

TESTS = Path(__file__).parents[1]


class Nursery:
    """Runs jobs of `torture.jobs`, one at a time, in processes that are easily started."""

    def __init__(self, process: subprocess.Popen[str], beats: int) -> None:
        self._process = process
        self._beats = beats

    def start(self, job: str, **arguments: Any) -> int:
        """Start a job and return its process; it waits for SIGCONT."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([job, arguments]) + "\n")
        self._process.stdin.flush()
        word, pid = self._line().split()
        assert word == "started"
        return int(pid)

    def wait(self) -> int:
        """Wait until the job is dead; return its exit code, negative if it was killed."""
        word, status = self._line().split()
        assert word == "ended"
        return os.waitstatus_to_exitcode(int(status))

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the nursery is dead"
        return line

    def forget_beats(self) -> None:
        """Drop the steps of jobs that are dead."""
        os.set_blocking(self._beats, False)
        try:
            while os.read(self._beats, 1 << 16):
                pass
        except BlockingIOError:
            pass
        os.set_blocking(self._beats, True)

    def wait_for_beats(self, number: int, pid: int) -> bool:
        """Wait for so many steps of a job; False if it ended before."""
        # A job that has ended says so on another pipe: whichever comes first.
        import select

        assert self._process.stdout is not None
        while number:
            ready, _, _ = select.select([self._beats, self._process.stdout], [], [])
            if self._beats in ready:
                number -= len(os.read(self._beats, number))
            else:
                return False
        return True


@contextmanager
def nursery() -> Iterator[Nursery]:
    beats, theirs = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "torture.nursery", str(theirs)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, pass_fds=[theirs],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])},
    )  # fmt: skip
    os.close(theirs)
    try:
        yield Nursery(process, beats)
    finally:
        os.close(beats)
        process.kill()
        process.communicate()


class Inspector:
    """Looks at all that is in a store; what was looked at and is still the same, only once."""

    def __init__(self) -> None:
        self._seen: dict[bytes, object] = {}

    def check(self, store: Store) -> int:
        """Check that everything in a store is whole, and return how many entries there are."""
        entries, blobs = _names(store)
        new = [digest for digest, mark in entries.items() if self._seen.get(digest) != mark]
        found = store.lookup(new)
        lost = [digest.hex()[:12] for digest in new if digest not in found]
        assert not lost, f"{store}: half entries {lost}: {[store.why(d) for d in new][:3]}"
        for each in {found[digest].record.resolved: found[digest] for digest in new}.values():
            store.fetch(each.record)
        for blob, (mark, length) in blobs.items():
            if self._seen.get(blob) != mark:
                data = store._read_blob(BlobId(blob), length)
                assert data is not None
                assert blob_id(data) == blob, f"{store}: blob {blob.hex()} is damaged"
                self._seen[blob] = mark
        self._seen.update({digest: entries[digest] for digest in new})
        assert store.stats.quarantined == 0
        return len(entries)


def _names(store: Store) -> tuple[dict[bytes, object], dict[bytes, tuple[object, int]]]:
    """Return all entries and blobs, each with what changes when it is written again."""
    if isinstance(store, DiskStore):
        with closing(sqlite3.connect(Path(store.url) / "index.sqlite")) as index:
            rows = index.execute("SELECT digest, created FROM entries").fetchall()
        entries: dict[bytes, object] = dict(rows)
        blobs = {}
        for path in (Path(store.url) / "blobs").glob("*/*"):
            stat = path.stat()
            blobs[bytes.fromhex(path.parent.name + path.name)] = (stat.st_ino, stat.st_size)
        return entries, blobs
    return (
        {each.digest: each.info.etag for each in store._scan_entries()},
        {each.digest: (each.info.etag, each.info.size) for each in store._scan_blobs()},
    )
