"""What became of a run, from the history or, where that does not know, from the journal alone."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

from invariant_dask.errors import EventError
from invariant_dask.ledger.alive import is_held
from invariant_dask.ledger.folding import apply
from invariant_dask.ledger.journal import read_journal
from invariant_dask.ledger.places import Ledger
from invariant_dask.ledger.rows import FlowRun, NodeRun, told_of
from invariant_dask.ledger.runs import LATEST, History, not_one
from invariant_dask.ledger.state import RunState

Damage = Callable[[str], object]


def find_run(ledger: Ledger, name: str) -> str:
    """Return the id of the run that a name is, or begins; or of the `latest`.

    Runs count that the history does not know, but whose journals are there.

    Raises
    ------
    RunNotFoundError
        If there is none, or several.
    """
    history = History(ledger)
    if name == LATEST:
        latest = history.runs(limit=1)
        return latest[0].id if latest else find_journal(ledger, name)
    known = {run.id for run in history.runs(prefix=name)} if name else set()
    return _one(ledger, name, known.union(ledger.journals()))


def find_journal(ledger: Ledger, name: str) -> str:
    """Return what `find_run` does without asking the history."""
    runs = ledger.journals()
    if name == LATEST:
        times = {run: ledger.journal(run).stat().st_mtime_ns for run in runs}
        runs = sorted(runs, key=lambda run: (times[run], run))[-1:]
        name = runs[0] if runs else name
    return _one(ledger, name, runs)


def _one(ledger: Ledger, name: str, runs: Collection[str]) -> str:
    found = [name] if name in runs else [run for run in runs if name and run.startswith(name)]
    if len(found) == 1:
        return found[0]
    raise not_one(ledger, name, found)


def replay(path: Path, damage: Damage | None = None) -> RunState:
    """Return the state of a run from its journal alone.

    Parameters
    ----------
    path
        The journal.
    damage
        As for `read_journal`.

    Raises
    ------
    EventError
        If it has no event.
    """
    state = RunState()
    for event in read_journal(path, damage):
        state.run = state.run or event.run
        if event.run == state.run:
            apply(state, event)
    if not state.run:
        raise EventError(f"{path} has no event")
    return state


def tell_run(
    ledger: Ledger, run: str, damage: Damage | None = None
) -> tuple[FlowRun, list[NodeRun]]:
    """Return a run and its nodes; of one that has no end, as far as its journal goes.

    Parameters
    ----------
    ledger
        Where it is.
    run
        Its id, whole.
    damage
        As for `read_journal`.

    Raises
    ------
    RunNotFoundError
        If there is none.
    """
    history = History(ledger)
    known = [each for each in history.runs(prefix=run) if each.id == run]
    if not known and not ledger.journal(run).is_file():
        raise not_one(ledger, run, [])
    if known and (known[0].ended or not ledger.journal(run).is_file()):
        return known[0], history.nodes(run)
    # The history gets nodes once they ended, the journal all that happened.
    told, nodes = told_of(replay(ledger.journal(run), damage))
    if told.state == "running" and not is_held(ledger.lock(run)):
        told = replace(told, state="interrupted")
    return told, nodes
