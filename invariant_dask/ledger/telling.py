"""What became of a run, from the history or, where that does not know, from the journal alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from invariant_dask.errors import EventError, RunNotFoundError
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
    try:
        return History(ledger).run(name).id
    except RunNotFoundError:
        return find_journal(ledger, name)


def find_journal(ledger: Ledger, name: str) -> str:
    """Return what `find_run` does without asking the history."""
    runs = ledger.journals()
    if name == LATEST:
        runs.sort(key=lambda run: ledger.journal(run).stat().st_mtime_ns)
        found = runs[-1:]
    else:
        found = [run for run in runs if name and run.startswith(name)]
        found = [run for run in found if run == name] or found
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
