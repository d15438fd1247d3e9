"""Collectors beside writers and other collectors, and collectors that are killed."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from store import upkeep_process
from store.places import PLACES, large, put, put_forward

from invariant_dask import DiskStore, open_store
from invariant_dask.store import Store, upkeep
from invariant_dask.store.record import Record

HERE = Path(__file__).parent.parent


def start(what: str, url: str, *given: object, **options: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "store.upkeep_process", what, url, *map(str, given)]
    paths = [str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.Popen(command, env=env, text=True, **options)  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize("kind", ["disk", "files"])
def test_collectors_beside_four_writers_lose_nothing(kind: str, tmp_path: Path) -> None:
    url = {"disk": str(tmp_path / "s"), "files": (tmp_path / "s").as_uri()}[kind]
    store = open_store(url)
    # What nobody names, and is as old as anything: writers find it while collectors take it.
    for n in range(upkeep_process.VALUES):
        store.write_blob(large(n, upkeep_process.SIZE))
    for path in (tmp_path / "s" / "blobs").rglob("*"):
        if path.is_file():
            os.utime(path, (1e9, 1e9))
    pipe = subprocess.PIPE
    collectors = [start("collect", url, tmp_path / "done", stdout=pipe) for _ in range(2)]
    writers = [start("write", url, n, 20) for n in range(4)]
    codes = [writer.wait(240) for writer in writers]
    (tmp_path / "done").touch()
    removed = [int(collector.communicate(timeout=120)[0]) for collector in collectors]
    codes += [collector.returncode for collector in collectors]
    assert codes == [0] * 6
    assert sum(removed) > 0
    told = upkeep.verify(store)
    assert told.is_sound, told.damage
    assert told.artifacts > 0


def test_blob_that_another_writer_has_only_listed_is_written_anew(tmp_path, monkeypatch) -> None:
    store, other = (DiskStore(tmp_path / "s") for _ in range(2))
    write = store._write_blobs

    def meanwhile(blobs):
        monkeypatch.undo()
        write(blobs)
        assert upkeep.collect(other, grace=0).count("blob") == 1
        other._index.list_blobs((blob, len(data)) for blob, data in blobs.items())

    monkeypatch.setattr(store, "_write_blobs", meanwhile)
    assert store.get(put(store, 1).resolved) == large(1)


def test_collector_that_is_killed_at_random_moments_leaves_no_damage(tmp_path: Path) -> None:
    url = str(tmp_path / "s")
    chance = random.Random(11)
    for _ in range(6):
        process = start("fill", url, 1000, stdout=subprocess.PIPE)
        assert process.stdout is not None
        for _ in range(chance.randrange(1, 8)):
            process.stdout.readline()
        time.sleep(chance.random() / 50)  # anywhere between two lines
        process.kill()
        process.wait(60)
        process.stdout.close()
        store = open_store(url)
        told = upkeep.verify(store)
        assert told.is_sound, told.damage
    assert store.keeper().size() <= 400_000
    put_forward(store, 7 * 24 * 3600)
    upkeep.collect(store)
    left = upkeep.overview(store)
    assert (left.unnamed, left.damaged) == (0, 0)
    files = [path for path in (tmp_path / "s" / "blobs").rglob("*") if path.is_file()]
    assert len(files) == left.blobs


class KilledError(BaseException):
    """Nothing in the collector may catch it."""


STEPS = ("remove_entries", "remove_blobs", "tidy", "remove_note")


@pytest.mark.parametrize("kind", PLACES)
def test_what_a_killed_collector_leaves_the_next_one_takes(kind, tmp_path, monkeypatch) -> None:
    store = PLACES[kind](tmp_path)
    kept = [put(store, n, claim=f"claim {n}") for n in range(3)]
    for record in kept:
        upkeep.pin(store, record.resolved)
    gone = [put(store, n, claim=f"claim {n}") for n in range(3, 6)]
    put_forward(store, 7 * 24 * 3600)
    for step in STEPS:
        for done in (False, True):
            with monkeypatch.context() as patch:
                _die_at(patch, store, step, done)
                with suppress(KilledError):
                    upkeep.collect(store, max_age=0)
            assert upkeep.verify(store).is_sound
            assert all(store.get(record.resolved) == large(n) for n, record in enumerate(kept))
    upkeep.collect(store, max_age=0)
    assert store.lookup([record.resolved for record in gone]) == {}
    left = upkeep.overview(store)
    assert (left.records, left.planned, left.blobs, left.unnamed) == (3, 3, 3, 0)


def _die_at(patch: pytest.MonkeyPatch, store: Store, step: str, done: bool) -> None:
    keeper = store.keeper()
    real = getattr(keeper, step)

    def die(*given: object) -> None:
        if done:
            real(*given)
        raise KilledError

    patch.setattr(keeper, step, die)


@pytest.mark.parametrize("kind", ["disk", "files"])
def test_several_collectors_at_once_do_no_more_than_one(kind: str, tmp_path: Path) -> None:
    url = {"disk": str(tmp_path / "s"), "files": (tmp_path / "s").as_uri()}[kind]
    store = open_store(url)
    records: list[Record] = [put(store, n, claim=f"claim {n}") for n in range(40)]
    for record in records[::2]:
        upkeep.pin(store, record.resolved)
    put_forward(store, 7 * 24 * 3600)
    reports: list[upkeep.Report] = []

    def work() -> None:
        reports.append(upkeep.collect(store, max_age=0))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for what in ("record", "planned entry", "blob"):
        assert sum(report.count(what) for report in reports) == 20
    assert store.lookup([r.resolved for r in records]).keys() == {
        record.resolved for record in records[::2]
    }
    assert upkeep.verify(store).is_sound
