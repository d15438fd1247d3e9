"""Where a ledger is, and what is taken for one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ledger.samples import sample_run

from invariant_dask import DiskStore
from invariant_dask.errors import LedgerLayoutError, LedgerUnavailableError, SpecError
from invariant_dask.ledger.places import Ledger, find_ledger
from invariant_dask.ledger.runs import History
from invariant_dask.ledger.writing import open_sinks


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger")


def test_a_path_counts_before_the_variable_before_the_store_before_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = {"INVARIANT_LEDGER": "said"}
    assert find_ledger("here", "/store", said) == Ledger(tmp_path / "here")
    assert find_ledger(None, "/store", said) == Ledger(tmp_path / "said")
    assert find_ledger(None, "/store", {}) == Ledger(Path("/store/ledger"))
    assert find_ledger(None, None, {}) == Ledger(tmp_path / ".invariant" / "ledger")
    assert find_ledger(None, None, {"INVARIANT_LEDGER": ""}) == find_ledger(None, None, {})
    monkeypatch.setenv("INVARIANT_LEDGER", "~/runs")
    assert find_ledger() == Ledger(Path.home() / "runs")


def test_off_is_no_ledger_and_a_path_is_one_all_the_same() -> None:
    off = {"INVARIANT_LEDGER": "off"}
    assert find_ledger(None, "/store", off) is None
    assert find_ledger("off", "/store", {}) is None
    assert find_ledger("/runs", None, off) == Ledger(Path("/runs"))


def test_looking_makes_nothing(ledger: Ledger) -> None:
    history = History(ledger)
    assert history.runs() == history.nodes() == ledger.journals() == []
    assert history.durations(["op"]) == {}
    for sink in open_sinks(ledger, "run-1"):
        sink.close()
    assert not ledger.folder.exists()


def test_a_ledger_is_made_once_and_says_its_layout(ledger: Ledger) -> None:
    ledger.create()
    marker = ledger.folder / "LEDGER"
    before = marker.stat().st_mtime_ns
    ledger.create()
    assert json.loads(marker.read_text())["layout"] == 1
    assert marker.stat().st_mtime_ns == before
    assert (ledger.folder / ".gitignore").read_text() == "*\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"layout": 2}', "has layout version 2, and this .* use the version that made it, or use"),
        ('{"layout": "1"}', "has layout version '1'"),
        ("", "not readable"),
        ("[1]", "not readable"),
        ("\udcff", "not readable"),
        ("[" * 100_000, "not readable"),
    ],
    ids=range(6),
)
def test_another_layout_is_refused_with_the_cure(ledger: Ledger, text: str, reason: str) -> None:
    ledger.folder.mkdir()
    (ledger.folder / "LEDGER").write_text(text, errors="surrogateescape")
    for use in (ledger.check, ledger.create, History(ledger).runs):
        with pytest.raises(LedgerLayoutError, match=reason):
            use()
    for sink in open_sinks(ledger, "run-1"):
        with pytest.raises(LedgerLayoutError, match="INVARIANT_LEDGER"):
            sink.write(sample_run())
        sink.close()


def test_a_folder_of_something_else_is_not_written(ledger: Ledger) -> None:
    ledger.folder.mkdir()
    (ledger.folder / "thesis.tex").write_text("")
    with pytest.raises(LedgerLayoutError, match=r"something else than a ledger \(thesis.tex\)"):
        ledger.create()
    assert [path.name for path in ledger.folder.iterdir()] == ["thesis.tex"]


def test_a_ledger_in_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerLayoutError, match="a folder of its own"):
        Ledger(tmp_path / "file").create()
    with pytest.raises((LedgerLayoutError, LedgerUnavailableError), match="file"):
        Ledger(tmp_path / "file" / "ledger").create()


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../up", "a/b", "/etc", "a\x00b", "a\nb", "-x", "é", "x" * 200, "a b"]
)
def test_what_is_no_run_id_leads_nowhere(ledger: Ledger, name: str) -> None:
    for use in (ledger.journal, ledger.lock, ledger.remove_run, History(ledger).remove):
        with pytest.raises(SpecError, match="not a run id"):
            use(name)


def test_a_store_takes_a_folder_that_has_a_ledger_already(tmp_path: Path) -> None:
    for sink in open_sinks(Ledger(tmp_path / ".invariant" / "ledger"), "run-1"):
        sink.write(sample_run())
        sink.close()
    DiskStore(tmp_path / ".invariant")
    assert len(History(Ledger(tmp_path / ".invariant" / "ledger")).runs()) == 1
