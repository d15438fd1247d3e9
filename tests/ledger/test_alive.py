"""Locks that tell whether a run is still recorded."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
from pathlib import Path

import pytest

from invariant_dask.errors import LedgerUnavailableError
from invariant_dask.ledger.alive import RunLock, is_held


def test_a_lock_is_held_until_it_is_released_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "run" / "lock"
    assert not is_held(path)
    for _ in range(20):  # looking at it does not keep anybody from taking it
        lock = RunLock(path)
        assert is_held(path)
        lock.release()
        assert not is_held(path)
    assert not path.exists()


def test_the_lock_of_a_killed_process_is_held_by_nobody(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            lock = RunLock(tmp_path / "lock")
            os.write(writing, b"!")
            signal.pause()
            lock.release()
        finally:
            os._exit(1)
    os.close(writing)
    assert os.read(reading, 1) == b"!"
    os.close(reading)
    assert is_held(tmp_path / "lock")
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert (tmp_path / "lock").exists()
    assert not is_held(tmp_path / "lock")


def test_where_files_cannot_be_locked_a_run_without_an_end_counts_as_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    lock = RunLock(tmp_path / "lock")
    assert is_held(tmp_path / "lock")
    lock.release()
    assert not is_held(tmp_path / "lock")


def test_what_cannot_be_looked_at_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to("lock")
    with pytest.raises(LedgerUnavailableError, match="cannot be used"):
        is_held(tmp_path / "lock")
    with pytest.raises(LedgerUnavailableError, match="cannot be used"):
        RunLock(tmp_path / "lock")
