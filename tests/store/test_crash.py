"""Killed at any moment, a writer leaves a store whole, and the next one goes on from there."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from services.processes import not_installed
from torture import jobs
from torture.killing import Nursery, check_whole, nursery
from torture.runs import kill_until_done

from invariant_dask.core.encode import encode
from invariant_dask.store import open_store

CHANGES = [
    "write", "pwrite64", "rename", "link", "linkat", "unlink", "fsync", "fdatasync", "ftruncate",
    "mkdir",
]  # fmt: skip


@pytest.fixture(scope="module")
def writers() -> Iterator[Nursery]:
    with nursery() as started:
        yield started


# --- a run ---


def test_run_that_is_killed_again_and_again_makes_only_what_was_unfinished(
    tmp_path: Path, writers: Nursery
) -> None:
    url = str(tmp_path / "store")
    commits = lambda n: n % 25 == 0  # noqa: E731  what has a blob does not wait for others
    kills = kill_until_done(writers, url, {}, tmp_path, random.Random(1), 150, commits)
    assert kills >= 5


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_disk_store_survives_two_hundred_kills(tmp_path: Path, writers: Nursery) -> None:
    rng, kills = random.Random(2), 0
    while kills < 200:
        folder = tmp_path / str(kills)
        folder.mkdir()
        url = str(folder / "store")
        kills += kill_until_done(writers, url, {}, folder, rng, 80, lambda n: n % 25 == 0)


# --- every change that one put makes ---


def put_and_die(writers: Nursery, url: str, value: str, call: str, number: int) -> bool:
    """Put an artifact and be killed at the n-th call of a kind; whether there was such a call."""
    pid = writers.start("put_one", url=url, value=value)
    command = ["strace", "-f", "-q", "-o", "/dev/null", "-e", f"trace={call}"]
    command += ["-e", f"inject={call}:signal=SIGKILL:when={number}", "-p", str(pid)]
    tracer = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    status = Path(f"/proc/{pid}/status")
    while "TracerPid:\t0\n" in status.read_text():
        assert tracer.poll() is None, "strace could not attach"
    os.kill(pid, signal.SIGCONT)
    code = writers.wait()
    tracer.wait()
    assert code in {0, -signal.SIGKILL}
    return code != 0


@pytest.mark.parametrize("value", jobs.PUTS)
@pytest.mark.parametrize("kind", ["disk", "files"])
def test_put_that_is_killed_at_any_change_it_makes_leaves_all_or_nothing(
    kind: str, value: str, tmp_path: Path, writers: Nursery
) -> None:
    if shutil.which("strace") is None:
        not_installed("strace")
    kills = 0
    for call in CHANGES:
        number, killed = 0, True
        while killed:
            number += 1
            path = tmp_path / f"{call}-{number}"
            url = str(path) if kind == "disk" else path.as_uri()
            killed = put_and_die(writers, url, value, call, number)
            kills += killed
            store = open_store(url)
            entries = check_whole(store)
            assert entries in {0, 1, 2}
            assert entries == 2 or killed
            planned = jobs.put(store, value)
            assert encode(store.get(planned)) == encode(jobs.PUTS[value])
            assert check_whole(open_store(url)) == 2
    assert kills >= 8
