"""A ledger on a disk that is full, or cannot be written: errors that say so, and no damage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ledger.samples import cut_into, sample_run, wide_run
from services.small_disks import empty, fill_bytes, fill_files, mounted, read_only

from invariant_dask.errors import LedgerError, LedgerUnavailableError
from invariant_dask.ledger.folding import fold
from invariant_dask.ledger.journal import Journal, read_journal
from invariant_dask.ledger.places import Ledger
from invariant_dask.ledger.runs import History
from invariant_dask.ledger.telling import tell_run
from invariant_dask.ledger.writing import HistorySink, open_sinks


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "small", size=4 << 20, files=60) as folder:
        yield folder


@pytest.fixture
def ledger(small_disk: Path) -> Ledger:
    return Ledger(small_disk / "ledger")


FILLS = {
    "no room": (fill_bytes, 0),
    "room for some": (fill_bytes, 40 << 10),
    "no more files": (fill_files, 0),
    "some more files": (fill_files, 4),
}


def write_until_refused(sink: Journal | HistorySink) -> int:
    """Write a large run; returns after how many batches there was no room."""
    for number, batch in enumerate(cut_into(wide_run("big", 20_000), 100)):
        try:
            sink.write(batch)
        except LedgerError:
            return number
    sink.close()
    return -1


@pytest.mark.parametrize("fill", FILLS)
def test_full_disk_is_told_and_what_was_written_before_is_whole(
    ledger: Ledger, small_disk: Path, fill: str
) -> None:
    for sink in open_sinks(ledger, "run-1"):
        sink.write(sample_run())
        sink.close()
    use_up: Callable[[Path, int], None]
    use_up, spare = FILLS[fill]
    use_up(small_disk, spare)
    journal, history = open_sinks(ledger, "big")
    batches = write_until_refused(journal)
    if batches > 0:
        assert len(list(read_journal(ledger.journal("big")))) == batches * 100
    assert batches >= 0
    assert write_until_refused(history) >= 0
    # As full as it is, what was there before can be read.
    told, nodes = tell_run(ledger, "run-1")
    assert (told.state, len(nodes)) == ("failed", 6)
    assert fold(read_journal(ledger.journal("run-1"))) == fold(sample_run())
    empty(small_disk)
    ledger.remove_run("big")
    for sink in open_sinks(ledger, "run-2"):
        sink.write(sample_run("run-2"))
        sink.close()
    assert {"run-1", "run-2"} <= {run.id for run in History(ledger).runs(state="failed")}


def test_a_full_disk_is_an_error_of_both_sinks(ledger: Ledger, small_disk: Path) -> None:
    for sink in open_sinks(ledger, "run-1"):
        sink.write(sample_run())
        sink.close()
    fill_bytes(small_disk, 0)
    for sink in open_sinks(ledger, "big"):
        with pytest.raises(LedgerUnavailableError, match=r"No space left|full"):
            sink.write(wide_run("big", 1000))
        sink.close()
    assert [run.id for run in History(ledger).runs()] == ["run-1"]


def test_a_disk_that_cannot_be_written_can_be_read(ledger: Ledger, small_disk: Path) -> None:
    for sink in open_sinks(ledger, "run-1"):
        sink.write(sample_run())
        sink.close()
    with read_only(small_disk):
        assert History(ledger).run("latest").state == "failed"
        assert len(tell_run(ledger, "run-1")[1]) == 6
        for sink in open_sinks(ledger, "run-2"):
            with pytest.raises(LedgerUnavailableError, match="cannot be"):
                sink.write(sample_run("run-2"))
            sink.close()
        with pytest.raises(LedgerUnavailableError, match="cannot be used"):
            History(ledger).remove("run-1")
    assert [run.id for run in History(ledger).runs()] == ["run-1"]


def test_a_run_on_a_disk_that_can_no_more_be_written_was_interrupted(
    ledger: Ledger, small_disk: Path
) -> None:
    sinks = open_sinks(ledger, "run-1")
    for sink in sinks:
        sink.write(sample_run()[:12])
    fill_bytes(small_disk, 0)
    for sink in sinks:
        with pytest.raises(LedgerUnavailableError):
            sink.write(wide_run("run-1", 20_000))
    # Nobody closed them: the recorder drops what fails.
    told, nodes = tell_run(ledger, "run-1")
    assert told.state == "interrupted"
    assert {node.node for node in nodes if node.state in {"ran", "reused"}} == {"words", "old"}
