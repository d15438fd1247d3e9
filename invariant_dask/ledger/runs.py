"""The history of all runs: which there were, what became of their nodes, how long ops take.

Several processes write at once, each the rows of its own run (`ledger.writing`). Questions give
rows, the latest first, and make no file.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from invariant_dask.errors import LedgerError, RunNotFoundError
from invariant_dask.ledger.alive import is_held
from invariant_dask.ledger.database import Writer, read
from invariant_dask.ledger.places import Ledger
from invariant_dask.ledger.rows import (
    NODE_COLUMNS,
    RUN_COLUMNS,
    Durations,
    EventRow,
    FlowRun,
    NodeRun,
    durations_of,
    node_of,
    packed,
    run_of,
)

LATEST = "latest"

When = datetime | int
"""A time: aware, or nanoseconds since 1970."""

_RUN = ", ".join(f"flow_runs.{name}" for name in RUN_COLUMNS)
_NODE = ", ".join(f"node_runs.{name}" for name in NODE_COLUMNS)
_RUNS = f"SELECT {_RUN} FROM flow_runs"  # noqa: S608  names from above, here and below
_NODES = (
    f"SELECT flow_runs.id, {_NODE} FROM node_runs "  # noqa: S608
    "JOIN flow_runs ON flow_runs.number = node_runs.run"
)
_LAST_CHARACTER = "\U0010ffff"
_CHUNK = 200


class History:
    """What a ledger tells of its runs.

    Parameters
    ----------
    ledger
        Where it is; a ledger that nobody wrote yet has no runs.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def runs(
        self,
        *,
        graph: str | None = None,
        tag: str | None = None,
        op: str | None = None,
        state: str | None = None,
        since: When | None = None,
        until: When | None = None,
        prefix: str = "",
        limit: int | None = None,
    ) -> list[FlowRun]:
        """Return the runs for which all of this holds, the latest first.

        Parameters
        ----------
        graph
            The name of the graph.
        tag
            One of the run's tags.
        op
            An op of one of its nodes.
        state
            `running`, `finished`, `failed`, `cancelled` or `interrupted`.
        since, until
            When it started.
        prefix
            The beginning of its id.
        limit
            How many at most; by default all.
        """
        terms: list[tuple[str, Sequence[object]]] = []
        if graph is not None:
            terms.append(("graph = ?", [graph]))
        if tag is not None:
            terms.append(("number IN (SELECT run FROM run_tags WHERE tag = ?)", [tag]))
        if op is not None:
            of_op = "SELECT 1 FROM node_runs WHERE op = ? AND run = flow_runs.number"
            terms.append((f"EXISTS ({of_op})", [op]))
        if state is not None:
            # A run that was interrupted could not say so.
            terms.append(("state = ?", ["running" if state == "interrupted" else state]))
        if since is not None:
            terms.append(("started >= ?", [_nanoseconds(since)]))
        if until is not None:
            terms.append(("started < ?", [_nanoseconds(until)]))
        if prefix:
            terms.append(("id >= ? AND id < ?", [prefix, prefix + _LAST_CHARACTER]))
        open_ended = state in {"running", "interrupted"}
        rows = self._select(
            _RUNS, terms, "started DESC, number DESC",
            None if open_ended else limit,
        )  # fmt: skip
        found: Iterator[FlowRun] = map(self._as_it_is, rows)
        if state is not None:
            found = (run for run in found if run.state == state)
        return list(islice(found, limit))

    def run(self, name: str) -> FlowRun:
        """Return the run whose id is, or begins with, a name; or the `latest`.

        Raises
        ------
        RunNotFoundError
            If there is none, or several.
        """
        if name == LATEST:
            found = self.runs(limit=1)
        else:
            found = self.runs(prefix=name, limit=50) if name else []
            found = [run for run in found if run.id == name] or found
        if len(found) == 1:
            return found[0]
        raise not_one(self.ledger, name, [run.id for run in found])

    def nodes(
        self,
        run: str | None = None,
        *,
        node: str | None = None,
        op: str | None = None,
        digest: str | None = None,
        state: str | None = None,
        limit: int | None = None,
    ) -> list[NodeRun]:
        """Return what became of nodes: of one run by id of the node, of several the latest first.

        Parameters
        ----------
        run
            The id of a run, whole.
        node, op
            A node's id, and the name of its op.
        digest
            A planned digest in hex.
        state
            One of `ledger.state.STATES`.
        limit
            How many at most; by default all.
        """
        terms: list[tuple[str, Sequence[object]]] = []
        if run is not None:
            terms.append(("node_runs.run = (SELECT number FROM flow_runs WHERE id = ?)", [run]))
        if node is not None:
            terms.append(("node_runs.node = ?", [node]))
        if digest is not None:
            terms.append(("node_runs.digest = ?", [packed(digest)]))
        if op is not None:
            terms.append(("node_runs.op = ?", [op]))
        if state is not None:
            terms.append(("node_runs.state = ?", [state]))
        order = "node_runs.run DESC, node_runs.node" if run is None else "node_runs.node"
        rows = self._select(
            _NODES, terms, order, limit,
        )  # fmt: skip
        return list(map(node_of, rows))

    def events(
        self,
        run: str,
        *,
        kind: str | None = None,
        node: str | None = None,
        limit: int | None = None,
    ) -> list[EventRow]:
        """Return which events a run had, in the order of their arrival.

        Parameters
        ----------
        run
            The id of the run, whole.
        kind
            The name of a type of events, such as `node.finished`.
        node
            A node's id.
        limit
            How many at most; by default all.
        """
        terms: list[tuple[str, Sequence[object]]] = [
            ("events.run = (SELECT number FROM flow_runs WHERE id = ?)", [run])
        ]
        if kind is not None:
            terms.append(("kind = ?", [kind]))
        if node is not None:
            terms.append(("node = ?", [node]))
        rows = self._select("SELECT seq, time, kind, node FROM events", terms, "seq", limit)
        return [EventRow(run, *row) for row in rows]

    def durations(self, ops: Collection[str], last: int = 100) -> dict[str, Durations]:
        """Return how long the latest calls of ops took, of those that were ever called.

        Parameters
        ----------
        ops
            Their names.
        last
            How many calls of each to look at.
        """
        found: dict[str, list[int]] = {}
        names = sorted(set(ops))
        one = (
            "SELECT * FROM (SELECT op, nanoseconds FROM node_runs "
            "WHERE op = ? AND state = 'ran' ORDER BY ended DESC LIMIT ?)"
        )
        for start in range(0, len(names), _CHUNK):
            chunk = names[start : start + _CHUNK]
            values = [value for name in chunk for value in (name, last)]
            for op, nanoseconds in self._read(" UNION ALL ".join([one] * len(chunk)), values):
                found.setdefault(op, []).append(nanoseconds)
        return {op: durations_of(op, took) for op, took in found.items()}

    def remove(self, run: str) -> None:
        """Forget a run, and remove its journal.

        Parameters
        ----------
        run
            Its id, whole.

        Raises
        ------
        LedgerError
            If it is still going on.
        RunNotFoundError
            If there is none.
        """
        if is_held(self.ledger.lock(run)):
            raise LedgerError(f"run {run} is going on; cancel it first")
        known = self.runs(prefix=run)
        if not any(each.id == run for each in known) and not self.ledger.run_folder(run).exists():
            raise not_one(self.ledger, run, [])
        if known:
            writer = Writer(self.ledger.history)
            try:
                writer.transact(lambda sql: _delete(sql, run))
            finally:
                writer.close()
        self.ledger.remove_run(run)

    def _as_it_is(self, row: Sequence[Any]) -> FlowRun:
        """Return a run; one that says that it runs, and that nobody records, was interrupted."""
        run = run_of(row)
        if run.state != "running" or is_held(self.ledger.lock(run.id)):
            return run
        # It may have ended between the two looks.
        rows = self._read(_RUNS + " WHERE id = ?", [run.id])
        run = run_of(rows[0]) if rows else run
        return run.interrupted() if run.state == "running" else run

    def _select(
        self,
        sql: str,
        terms: Sequence[tuple[str, Sequence[object]]],
        order: str,
        limit: int | None,
    ) -> list[tuple[Any, ...]]:
        where = " AND ".join(term for term, _ in terms)
        sql += f" WHERE {where}" if where else ""
        values = [value for _, given in terms for value in given]
        values.append(-1 if limit is None else limit)
        return self._read(f"{sql} ORDER BY {order} LIMIT ?", values)

    def _read(self, sql: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        if not self.ledger.check():
            return []
        return read(self.ledger.history, sql, values)


def _delete(sql: Any, run: str) -> None:
    row = sql.execute("SELECT number FROM flow_runs WHERE id = ?", (run,)).fetchone()
    if row is not None:
        for table in ("events", "node_runs", "run_tags"):
            sql.execute(f"DELETE FROM {table} WHERE run = ?", row)  # noqa: S608  names from above
        sql.execute("DELETE FROM flow_runs WHERE number = ?", row)


def _nanoseconds(when: When) -> int:
    if isinstance(when, int):
        return when
    if when.tzinfo is None:
        raise LedgerError(f"{when} has no time zone; say datetime(..., tzinfo=UTC)")
    return int(when.timestamp()) * 10**9 + when.microsecond * 1000


def not_one(ledger: Ledger, name: str, found: Sequence[str]) -> RunNotFoundError:
    """Return the error for a name that is that of no run, or of several."""
    if found:
        some = ", ".join(sorted(found)[:3])
        msg = f"{len(found)} runs begin with {name!r}, such as {some}; give more of it"
        return RunNotFoundError(msg)
    if name == LATEST:
        return RunNotFoundError(f"no run is recorded in {ledger.folder}")
    return RunNotFoundError(f"no run {name!r:.80} in {ledger.folder}; see runs ls")
