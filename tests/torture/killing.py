"""Start a job, kill it at a chosen moment, and look at what it left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from invariant_dask.store import Store
from invariant_dask.store.notes import keeper_of
from invariant_dask.store.verifying import verify

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


def check_whole(store: Store, sample: int | None = None) -> int:
    """Check that all, or some, in a store is sound and found; return how many entries that is."""
    told = verify(store, sample=sample)
    assert told.is_sound, told.damage
    assert not told.unchecked
    # What is sound may still point nowhere: a claim without its record, a record without a blob.
    digests = [each.digest for each in keeper_of(store).entries()][:sample]
    found = store.lookup(digests)
    lost = [
        f"{digest.hex()[:12]}: {store.why(digest)}" for digest in digests if digest not in found
    ]
    assert not lost, f"{store}: half entries {lost[:5]}"
    assert store.stats.quarantined == 0
    return len(digests)
