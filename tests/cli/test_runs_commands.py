"""`runs ...`: every command, for people and as JSON, and users' mistakes without a traceback."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from ledger.samples import HOSTILE, SECOND, START, sample_run, wide_run

from invariant_dask.cli.app import app
from invariant_dask.ledger.events import Event, NodeFinished, NodeReused, RunEnded, RunStarted
from invariant_dask.ledger.places import Ledger
from invariant_dask.ledger.writing import HistorySink, open_sinks


def record(ledger: Ledger, events: list[Event]) -> None:
    for sink in open_sinks(ledger, events[0].run):
        sink.write(events)
        sink.close()


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("INVARIANT_LEDGER", raising=False)
    monkeypatch.delenv("INVARIANT_STORE", raising=False)
    ledger = Ledger(tmp_path / ".invariant" / "ledger")
    record(ledger, sample_run("aa-1"))
    record(ledger, wide_run("aa-2", 3, at=START + SECOND))
    record(ledger, sample_run("bb-1", at=START + 2 * SECOND)[:15])
    return ledger


def call(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["runs", *map(str, arguments)])
    assert result.exit_code == code, result.output
    assert "Traceback (most" not in result.output
    return result


def told(*arguments: object) -> Any:
    return json.loads(call(*arguments, "--json").stdout)


def test_ls_lists_runs_the_latest_first(ledger: Ledger) -> None:
    lines = call("ls").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["bb-1", "aa-2", "aa-1"]
    assert "interrupted" in lines[0]
    assert lines[2].endswith(
        "2 ran, 1 reused, 1 shared, 1 failed, 1 skipped, 1 not looked at, 1 inline"
    )
    assert [run["id"] for run in told("ls")] == ["bb-1", "aa-2", "aa-1"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--graph", "census"], ["bb-1", "aa-1"]),
        (["--tag", "ci", "--state", "failed"], ["aa-1"]),
        (["--op", "wide:op"], ["aa-2"]),
        (["--state", "interrupted"], ["bb-1"]),
        (["--state", "running"], []),
        (["--limit", 1], ["bb-1"]),
        (["--limit", 0], ["bb-1", "aa-2", "aa-1"]),
        (["--since", "1s"], ["bb-1", "aa-2", "aa-1"]),
    ],
)
def test_ls_lists_those_that_are_asked_for(
    ledger: Ledger, options: list[object], expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("invariant_dask.cli.runs.time.time_ns", lambda: START + SECOND)
    assert [run["id"] for run in told("ls", *options)] == expected


def test_ls_says_that_there_are_more_or_none(ledger: Ledger) -> None:
    assert call("ls", "--limit", 1).stdout.endswith("... and more: --limit 0 lists all\n")
    assert call("ls", "--graph", "none").stdout == "no such run\n"


def test_show_tells_of_a_run_and_of_its_nodes_the_failed_ones_first(ledger: Ledger) -> None:
    text = call("show", "aa-1").stdout
    head, table = text.split("\n\n")
    assert "aa-1  failed" in head
    assert "graph    census" in head
    assert "ops took 3.0 s; reuse saved 5.0 s" in head
    assert [line.split()[:2] for line in table.splitlines()] == [
        ["failed", "bad"], ["skipped", "after"], ["ran", "words"], ["ran", "total"],
        ["shared", "again"], ["reused", "old"],
    ]  # fmt: skip
    assert "parameter at_least: 2 -> 3" in table
    shown = told("show", "aa-1", "--limit", 1)
    assert shown["counts"]["ran"] == 2
    assert len(shown["nodes"]) == 6
    assert "... and 5 more: --limit 0 lists all" in call("show", "aa-1", "--limit", 1).stdout


def test_show_of_a_run_that_was_interrupted_tells_which_nodes_were_finished(
    ledger: Ledger,
) -> None:
    text = call("show", "latest").stdout
    assert "bb-1  interrupted" in text
    assert "4 of 6 nodes were finished" in text
    states = {node["node"]: node["state"] for node in told("show", "bb")["nodes"]}
    assert states == {
        "words": "ran", "total": "ran", "again": "shared", "old": "reused", "bad": "running",
        "after": "planned",
    }  # fmt: skip


def test_show_takes_the_journal_where_the_history_is_gone(ledger: Ledger) -> None:
    for path in ledger.folder.glob("history.sqlite*"):
        path.unlink()
    assert told("show", "aa-1")["state"] == "failed"
    assert told("show", "bb-1")["state"] == "interrupted"
    assert told("show", "latest")["id"] in {"aa-1", "aa-2", "bb-1"}


def test_show_takes_the_history_where_the_journal_is_gone(ledger: Ledger) -> None:
    for run in ("aa-1", "bb-1"):
        ledger.journal(run).unlink()
    assert len(told("show", "aa-1")["nodes"]) == 6
    assert told("show", "bb-1")["state"] == "interrupted"


def test_replay_makes_of_the_journal_alone_what_the_history_says(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = told("show", "aa-1")
    journal = ledger.journal("aa-1").rename(ledger.folder.parent.parent / "kept.jsonl")
    assert told("replay", journal) == shown
    assert call("replay", "aa-2").stdout == call("show", "aa-2").stdout
    monkeypatch.setenv("INVARIANT_LEDGER", "off")  # a file needs none
    assert told("replay", journal) == shown


def test_replay_needs_no_history_and_tells_of_damage(ledger: Ledger) -> None:
    ledger.history.write_bytes(b"no database")
    path = ledger.journal("aa-1")
    path.write_bytes(b"\x1b[2J damage\n" + path.read_bytes())
    result = call("replay", "aa-1", "--json")
    assert json.loads(result.stdout)["counts"]["ran"] == 2
    assert result.stderr == f"left out: {path}:1: the line is not JSON: {_json_error()}\n"
    assert "is damaged" in call("show", "aa-1", code=2).stderr


def _json_error() -> str:
    try:
        json.loads(b"\x1b[2J damage\n")
    except ValueError as error:
        return str(error)
    raise AssertionError


def test_diff_lists_what_differs_and_counts_what_was_only_reused(ledger: Ledger) -> None:
    changed = [
        type(event)(**{**fields, "artifact": "99" * 32, "resolved": "77" * 32})
        if isinstance(event, NodeFinished) and event.node == "total"
        else type(event)(**fields)
        for event in sample_run("cc-1", at=START + 9 * SECOND)
        for fields in [
            {name: getattr(event, name) for name in event.__dataclass_fields__ if name != "event"}
        ]
    ]
    extra = NodeFinished(
        time=START + 9 * SECOND, run="cc-1", node="extra", digest="ab", op="new:op", artifact="ab"
    )
    record(ledger, [*changed[:-1], extra, changed[-1]])
    text = call("diff", "aa-1", "cc-1").stdout
    assert "A aa-1  failed" in text
    assert "+ extra  new:op  ran" in text
    assert "~ total  ran  2.0 s" in text
    assert "    artifact  343434343434 -> 999999999999" in text
    assert "words" not in text
    nodes = told("diff", "aa-1", "cc-1")["nodes"]
    assert [(node["node"], node["differs"]) for node in nodes] == [
        ("extra", ["added"]), ("total", ["resolved", "artifact"]),
    ]  # fmt: skip
    assert "- extra" in call("diff", "cc-1", "aa-1").stdout
    assert "no node differs" in call("diff", "aa-1", "aa-1").stdout


def test_diff_counts_nodes_that_ran_in_one_and_were_reused_in_the_other(ledger: Ledger) -> None:
    def run(name: str, state: str) -> list[Event]:
        kind = NodeFinished if state == "ran" else NodeReused
        nodes = [kind(time=2, run=name, node=f"n{n}", digest="ab", op="a:b") for n in range(7)]
        return [RunStarted(time=1, run=name), *nodes, RunEnded(time=3, run=name)]

    record(ledger, run("old", "ran"))
    record(ledger, run("new", "reused"))
    assert call("diff", "old", "new").stdout.endswith(
        "\n\n7 nodes with the same digest: ran -> reused\n"
    )
    assert call("diff", "old", "new", "--all").stdout.count("~ n") == 7


def test_rm_forgets_runs_and_leaves_others(ledger: Ledger) -> None:
    assert call("rm", "aa-1", "bb").stdout == "removed aa-1\nremoved bb-1\n"
    assert [run["id"] for run in told("ls")] == ["aa-2"]
    assert [path.name for path in (ledger.folder / "runs").iterdir()] == ["aa-2"]
    assert "no run 'aa-1'" in call("rm", "aa-1", code=2).stderr


def test_rm_removes_nothing_if_one_name_is_wrong(ledger: Ledger) -> None:
    call("rm", "aa-1", "zz", code=2)
    assert len(told("ls")) == 3


def test_a_run_that_is_going_on_is_not_removed(ledger: Ledger) -> None:
    sink = HistorySink(ledger, "going")
    sink.write([RunStarted(time=START * 2, run="going")])
    try:
        assert "is going on; cancel it first" in call("rm", "going", code=2).stderr
        assert "going  running" in call("show", "latest").stdout
    finally:
        sink.close()


def test_names_that_are_unclear_or_unknown_are_told(ledger: Ledger) -> None:
    assert "2 runs begin with 'aa'" in call("show", "aa", code=2).stderr
    assert "2 runs begin with 'aa'" in call("replay", "aa", code=2).stderr
    for name in ("zz", "../../etc", ""):
        assert "see runs ls" in call("show", name, code=2).stderr


def test_a_ledger_that_is_not_there_or_off_is_told_and_not_made(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = call("ls", "--ledger", tmp_path / "none", code=2).stderr
    assert "there is no ledger at" in error
    assert "--ledger or --store" in error
    assert not (tmp_path / "none").exists()
    monkeypatch.setenv("INVARIANT_LEDGER", "off")
    assert "the ledger is off" in call("ls", code=2).stderr
    assert len(told("ls", "--ledger", ledger.folder)) == 3
    assert len(told("ls", "--store", ".invariant")) == 3


def test_the_ledger_of_a_store_is_in_its_folder(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(Ledger(tmp_path / "other" / "ledger"), wide_run("there", 1))
    for store in ("other", "disk:other", '["other", "s3://team/far"]'):
        assert [run["id"] for run in told("ls", "--store", store)] == ["there"]
    assert len(told("ls", "--store", "s3://team/far")) == 3
    monkeypatch.setenv("INVARIANT_STORE", "other")
    assert [run["id"] for run in told("ls")] == ["there"]


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_nothing_that_is_printed_steers_a_terminal(ledger: Ledger, name: str) -> None:
    events: list[Event] = [
        RunStarted(time=START * 2, run="r", graph=name, tags=(name,), outputs=(name,), store=name),
        NodeFinished(time=START * 2, run="r", node=name, digest=name, op=name, worker=name),
        RunEnded(time=START * 2, run="r", state=name, error=name),
    ]
    record(ledger, events)
    for command in (["ls"], ["show", "r"], ["replay", "r"], ["diff", "aa-1", "r"]):
        text = call(*command).output
        assert all(char.isprintable() for char in text.replace("\n", ""))
        json.loads(call(*command, "--json").stdout)
    assert len(call("ls").stdout.splitlines()) == 4
