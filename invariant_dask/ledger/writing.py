"""How a run gets into the history: its events are folded, and what changed is written."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from invariant_dask.ledger.alive import RunLock
from invariant_dask.ledger.database import Writer
from invariant_dask.ledger.events import Event, NodeEvent, RunEnded
from invariant_dask.ledger.folding import apply
from invariant_dask.ledger.journal import Journal
from invariant_dask.ledger.places import Ledger
from invariant_dask.ledger.rows import (
    NODE_COLUMNS,
    RUN_COLUMNS,
    number,
    row_of_node,
    row_of_run,
    text,
)
from invariant_dask.ledger.state import RunState


def open_sinks(
    ledger: Ledger, run: str, state: RunState | None = None
) -> tuple[Journal, HistorySink]:
    """Return the journal and the history of a new run; nothing is made before the first event.

    Parameters
    ----------
    ledger
        Where runs are recorded.
    run
        The id of the run.
    state
        That of the run, if the caller folds each batch into it before the sinks get it.
    """
    return Journal(ledger.journal(run), ledger.create), HistorySink(ledger, run, state)


_RUN_VALUES = ", ".join("?" * len(RUN_COLUMNS))
_PUT_RUN = (
    f"INSERT INTO flow_runs ({', '.join(RUN_COLUMNS)}) VALUES ({_RUN_VALUES}) "  # noqa: S608
    "ON CONFLICT (id) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in RUN_COLUMNS[1:])
    + " RETURNING number"
)
_PUT_NODE = (
    f"INSERT OR REPLACE INTO node_runs (run, {', '.join(NODE_COLUMNS)}) "  # noqa: S608
    f"VALUES ({', '.join('?' * (1 + len(NODE_COLUMNS)))})"
)
_PUT_EVENT = "INSERT INTO events VALUES (?, ?, ?, ?, ?)"
_PUT_TAG = "INSERT OR IGNORE INTO run_tags VALUES (?, ?)"


class HistorySink:
    """Writes a run into the history.

    A node is written once it is known how it ended, and again if that changes; all others when the
    run ends. So most nodes are written once.

    Parameters
    ----------
    ledger
        Whose history it is.
    run
        The id of the run.
    state
        As for `open_sinks`; by default events are folded here.
    """

    def __init__(self, ledger: Ledger, run: str, state: RunState | None = None) -> None:
        self._ledger = ledger
        self._run = run
        self._folds = state is None
        self._state = RunState(run) if state is None else state
        self._lock: RunLock | None = None
        self._writer: Writer | None = None
        self._seq: int | None = None
        self._open: set[str] = set()  # nodes that are not settled, nor written

    def write(self, events: Sequence[Event]) -> None:
        """Bring the history up to date.

        Raises
        ------
        LedgerError
            If it cannot be written. Nothing of these events is there then, and nothing is held: if
            no more come, the run counts as interrupted.
        """
        events = [event for event in events if event.run == self._run]
        if not events:
            return
        changed: set[str] = set()
        for event in events:
            if self._folds:
                apply(self._state, event)
            if isinstance(event, NodeEvent):
                changed.add(event.node)
                changed.update(self._state.followers.get(event.node, ()))
        try:
            self._put(events, self._to_write(changed, events))
        except BaseException:
            self._open.clear()
            self.close()  # whoever drops a sink that failed need not know that it holds a lock
            raise

    def close(self) -> None:
        """Write what is left, and let go of the run."""
        try:
            if self._open and self._writer is not None:
                self._put([], self._open)
        finally:
            writer, self._writer = self._writer, None
            lock, self._lock = self._lock, None
            if writer is not None:
                writer.close()
            if lock is not None:
                lock.release()

    def _to_write(self, changed: set[str], events: Sequence[Event]) -> set[str]:
        """Return which nodes to write, and remember which are left for later."""
        nodes = self._state.nodes
        # A look-up that found an artifact makes no node.
        settled = {name for name in changed if name in nodes and nodes[name].is_settled}
        self._open.update(name for name in changed - settled if name in nodes)
        self._open -= settled
        if any(isinstance(event, RunEnded) for event in events):
            settled |= self._open
            self._open.clear()
        return settled

    def _put(self, events: Sequence[Event], written: set[str]) -> None:
        if self._writer is None:
            self._ledger.create()
            self._lock = self._lock or RunLock(self._ledger.lock(self._run))
            self._writer = Writer(self._ledger.history)
        rows = [row_of_node(self._state.nodes[name]) for name in sorted(written)]
        self._seq = self._writer.transact(lambda sql: self._insert(sql, events, rows))

    def _insert(
        self, sql: sqlite3.Connection, events: Sequence[Event], rows: Sequence[tuple[object, ...]]
    ) -> int:
        """Write within a transaction; returns the number of the next event."""
        (run,) = sql.execute(_PUT_RUN, row_of_run(self._state)).fetchone()
        seq = self._seq
        if seq is None:
            asked = self._state.asked
            tags = asked.tags if asked is not None else ()
            sql.executemany(_PUT_TAG, [(text(tag), run) for tag in tags])
            found = sql.execute("SELECT max(seq) FROM events WHERE run = ?", (run,)).fetchone()[0]
            seq = 0 if found is None else found + 1
        sql.executemany(_PUT_NODE, [(run, *row) for row in rows])
        sql.executemany(
            _PUT_EVENT,
            [
                (
                    run, seq + index, number(event.time), event.event,
                    text(event.node) if isinstance(event, NodeEvent) else "",
                )
                for index, event in enumerate(events)
            ],
        )  # fmt: skip
        return seq + len(events)
