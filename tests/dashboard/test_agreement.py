"""Page, report, history and journal tell the same numbers of a run."""

from __future__ import annotations

import html
import json
import re
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import sample_ops

from invariant_dask import Graph, OpRegistry, compile, ref
from invariant_dask.errors import OpFailedError
from invariant_dask.ledger.folding import fold
from invariant_dask.ledger.journal import read_journal
from invariant_dask.ledger.places import Ledger
from invariant_dask.ledger.runs import History
from invariant_dask.view.report import report_page


def graph() -> Graph:
    g = Graph("sums")
    g.add("source", sample_ops.source, seed=5)
    g.add("total", sample_ops.total, values=ref("source"))
    g.add("same", sample_ops.total, values=ref("source"))
    g.add("double", sample_ops.double, value=ref("total"))
    return g


def page_of(client: Any, run: str) -> dict[str, int]:
    """The counts that the scheduler's page shows of a run."""
    port = client.cluster.scheduler.http_server.port
    address = f"http://127.0.0.1:{port}/invariant/api/run/{run}"
    with urllib.request.urlopen(address) as answer:
        counts: dict[str, int] = json.load(answer)["counts"]
    return counts


def report_of(page: str) -> dict[str, int]:
    """The counts that a report shows, each as a number before its word."""
    text = html.unescape(re.sub(r"<[^>]+>", " ", page[page.index("</style>") :]))
    words = "ran|shared|reused|failed|skipped|cancelled|not looked at"
    found: dict[str, int] = {}
    for number, word in re.findall(rf"(\d+)\s+({words})\b", text):
        found.setdefault(word, int(number))
    return found


def check(client: Any, ledger: Ledger, run: str) -> dict[str, int]:
    state = fold(read_journal(ledger.journal(run)))
    told = state.counts()
    assert page_of(client, run) == told
    assert History(ledger).run(run).counts == told
    shown = report_of(report_page(state))
    assert {word: told[word] for word in shown} == shown
    assert {word for word, number in told.items() if number} <= {*shown, "inline"}
    return told


def test_page_report_history_and_journal_agree(local_client, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    g = graph()
    for expected in (
        {"ran": 3, "shared": 1},
        {"ran": 1, "reused": 3, "not looked at": 1},
        {"reused": 3, "not looked at": 2},
    ):
        run = compile(g, store=tmp_path / "s").run(scheduler=local_client, ledger=ledger.folder)
        told = run.state.counts()
        if told["ran"]:  # what is all stored never gets to the scheduler
            assert check(local_client, ledger, run.id) == told
        assert {word: number for word, number in told.items() if number} == expected
        if "more" not in g:
            g.add("more", sample_ops.double, value=ref("double"))


def test_they_agree_on_what_failed(local_client, tmp_path: Path) -> None:
    def fails(value):
        raise ValueError(value)

    ledger, registry = Ledger(tmp_path / "ledger"), OpRegistry()
    registry.register("here:fails", fails, version="1")
    registry.register("here:after", sample_ops.double, version="1")
    g = Graph("fails")
    g.add("bad", "here:fails", value=1)
    g.add("after", "here:after", value=ref("bad"))
    compiled = compile(g, store=tmp_path / "s", registry=registry)
    with pytest.raises(OpFailedError):
        compiled.run(scheduler=local_client, ledger=ledger.folder)
    (run,) = History(ledger).runs()
    told = check(local_client, ledger, run.id)
    assert {word: number for word, number in told.items() if number} == {"failed": 1, "skipped": 1}
