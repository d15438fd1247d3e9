"""The journal: whole lines whatever happens, and reading that nothing in a file can harm."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger.samples import any_event, cancelled, cut_into, sample_run

from invariant_dask.errors import EventError, LedgerUnavailableError, NewerEventsError
from invariant_dask.ledger.coding import to_json
from invariant_dask.ledger.events import (
    Event,
    NodePlanned,
    NodesGrown,
    RunStarted,
)
from invariant_dask.ledger.folding import fold
from invariant_dask.ledger.journal import LINE_LIMIT, Journal, line_of, read_journal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "run-1" / "events.jsonl"


def write(path: Path, *batches: list[Event]) -> None:
    journal = Journal(path)
    for batch in batches:
        journal.write(batch)
    journal.close()


@given(st.lists(any_event, max_size=8), st.integers(1, 8))
def test_what_is_read_is_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, events: list[Event], size: int
) -> None:
    path = tmp_path_factory.mktemp("journal") / "events.jsonl"
    write(path, [cancelled("r", "first")], *cut_into(events, size))
    assert list(read_journal(path)) == [cancelled("r", "first"), *events]


def test_the_fold_of_a_journal_is_the_state_of_the_run(path: Path) -> None:
    write(path, *cut_into(sample_run(), 3))
    assert fold(read_journal(path)) == fold(sample_run())


def test_nothing_is_made_before_there_is_an_event(path: Path) -> None:
    journal = Journal(path)
    journal.write([])
    journal.close()
    assert not path.parent.exists()


def test_a_batch_is_one_write(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    real = os.write

    def counted(fd: int, data: memoryview) -> int:
        sizes.append(len(data))
        return real(fd, data)

    monkeypatch.setattr("invariant_dask.ledger.journal.os.write", counted)
    write(path, sample_run())
    assert sizes == [path.stat().st_size]


def test_a_tail_torn_at_any_byte_is_passed_over_and_cut_off(path: Path) -> None:
    events = sample_run()
    write(path, events)
    data = path.read_bytes()
    lines = data.splitlines(keepends=True)
    assert len(lines) == len(events)
    whole = len(data) - sum(map(len, lines[-3:]))
    for size in range(whole, len(data) + 1):
        path.write_bytes(data[:size])
        left = data[:size].count(b"\n")
        assert list(read_journal(path)) == events[:left]
        write(path, [cancelled("run-1", "late")])
        assert list(read_journal(path)) == [*events[:left], cancelled("run-1", "late")]


def test_a_process_that_is_killed_leaves_a_journal_that_folds(path: Path) -> None:
    program = """if True:
        import sys
        from pathlib import Path
        from ledger.samples import cut_into, sample_run
        from invariant_dask.ledger.journal import Journal
        journal = Journal(Path(sys.argv[1]))
        journal.write(sample_run()[:15])
        print("written", flush=True)
        while True:
            journal.write(sample_run()[14:15])
    """
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True,
        cwd=Path(__file__).parent.parent,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "written\n"
    process.send_signal(signal.SIGKILL)
    process.stdout.close()
    process.wait()
    state = fold(read_journal(path))
    assert state.state == "running"
    finished = {name for name, node in state.nodes.items() if node.state in {"ran", "reused"}}
    assert finished == {"words", "total", "old"}


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (b"\x00\xff\xfe binary\n", "not JSON"),
        (b"{\n", "not JSON"),
        (b"\n", "not JSON"),
        (b"[" * 100_000 + b"\n", "not JSON"),
        (b"1" * 10_000 + b"\n", "not JSON|names its type"),
        (b"{}\n", "names its type"),
        (b'{"event": "node.failed"}\n', "must be given"),
        (b'"' + b"x" * LINE_LIMIT + b'"\n', "more than"),
        (b"x" * (3 * LINE_LIMIT) + b"\n", "more than"),
    ],
    ids=range(9),
)
def test_damage_is_an_error_that_names_file_and_line_or_is_told_and_left_out(
    path: Path, damage: bytes, reason: str
) -> None:
    events = sample_run()
    path.parent.mkdir(parents=True)
    path.write_bytes(
        b"".join(map(line_of, events[:4])) + damage + b"".join(map(line_of, events[4:]))
    )
    with pytest.raises(EventError, match=reason) as caught:
        list(read_journal(path))
    assert str(caught.value).startswith(f"{path}:5: ")
    assert len(str(caught.value)) < len(str(path)) + 300
    told: list[str] = []
    assert list(read_journal(path, told.append)) == events
    assert told == [str(caught.value)]


def test_only_the_first_of_many_damages_are_told_each(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(b"?\n" * 1000 + line_of(cancelled("r", "n")))
    told: list[str] = []
    assert list(read_journal(path, told.append)) == [cancelled("r", "n")]
    assert len(told) == 21
    assert told[-1].endswith("980 more lines are no events")


def test_events_that_only_newer_versions_know_are_passed_over(path: Path) -> None:
    path.parent.mkdir(parents=True)
    newer = json.dumps({"event": "node.dreamt", "time": 1, "run": "r"}).encode() + b"\n"
    path.write_bytes(newer + line_of(cancelled("r", "n")))
    assert list(read_journal(path)) == [cancelled("r", "n")]


def test_a_journal_that_would_be_misread_is_refused_whoever_takes_damage(path: Path) -> None:
    path.parent.mkdir(parents=True)
    started = {**to_json(RunStarted(time=1, run="r")), "schema": 99}
    path.write_text(json.dumps(started) + "\n")
    with pytest.raises(NewerEventsError, match="schema 99"):
        list(read_journal(path, lambda _: None))


def test_an_absent_journal_and_a_folder_are_errors(tmp_path: Path) -> None:
    for wrong in (tmp_path / "none", tmp_path, tmp_path / "none" / "none"):
        with pytest.raises(LedgerUnavailableError, match="there is no journal"):
            list(read_journal(wrong))


def test_a_pipe_is_no_journal_and_nobody_waits_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(LedgerUnavailableError, match="there is no journal"):
        list(read_journal(tmp_path / "pipe"))


def test_a_file_of_one_endless_line_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with path.open("wb") as file:
        file.truncate(1 << 30)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    told: list[str] = []
    assert list(read_journal(path, told.append)) == []
    assert len(told) == 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10


def test_what_is_no_journal_is_not_cut(tmp_path: Path) -> None:
    path = tmp_path / "photo.raw"
    path.write_bytes(b"x" * (3 * LINE_LIMIT))
    with pytest.raises(EventError, match="is no journal"):
        Journal(path).write(sample_run())
    assert path.stat().st_size == 3 * LINE_LIMIT


@pytest.mark.parametrize(
    "make",
    [
        lambda ids: NodesGrown(time=1, run="r", node="n", digest="", added=ids),
        lambda ids: NodePlanned(time=1, run="r", node="n", digest="", inputs=ids, causes=("x",)),
    ],
)
def test_an_event_that_is_too_long_loses_the_end_of_its_lists(
    path: Path, make: Callable[[tuple[str, ...]], Event]
) -> None:
    ids = tuple(f"node-{number}" for number in range(1_000_000))
    write(path, [make(ids), cancelled("r", "n")])
    first, second = read_journal(path)
    kept = first.added if isinstance(first, NodesGrown) else first.inputs  # type: ignore[attr-defined]
    assert kept == ids[: len(kept)]
    assert 100_000 < len(kept) < len(ids)
    assert second == cancelled("r", "n")


def test_a_refused_write_leaves_whole_lines(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system takes half of a batch, as a disk that gets full does."""
    events = sample_run()
    journal = Journal(path)
    journal.write(events[:3])
    real = os.write

    def half(fd: int, data: memoryview) -> int:
        if len(data) < 500:
            raise OSError(28, "No space left on device")
        return real(fd, data[: len(data) // 2])

    monkeypatch.setattr("invariant_dask.ledger.journal.os.write", half)
    with pytest.raises(LedgerUnavailableError, match="cannot be written: No space left"):
        journal.write(events[3:])
    assert path.read_bytes() == b"".join(map(line_of, events[:3]))
    monkeypatch.undo()
    journal.write(events[3:])
    journal.close()
    assert list(read_journal(path)) == events
