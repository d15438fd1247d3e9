"""Record a run: where its events go, and how the run itself is told when it is over."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from invariant_dask.ledger.events import Event
from invariant_dask.ledger.places import VARIABLE, Ledger, find_ledger
from invariant_dask.ledger.recorder import Calls, Recorder, Sink
from invariant_dask.ledger.runs import History
from invariant_dask.ledger.writing import open_sinks
from invariant_dask.runtime.run import Run
from invariant_dask.runtime.telling import Progress, Teller
from invariant_dask.store.base import Store
from invariant_dask.view.pace import Expected


@dataclass(frozen=True)
class Recording:
    """Who wants to know of a run."""

    wanted: bool = False
    """Whether it is told of at all; one on a cluster always is."""
    ledger: str | os.PathLike[str] | bool | None = None
    """A folder, or whether there is to be one: see `ledger.places.find_ledger`."""
    progress: Progress | bool | None = None
    """True draws a bar, if there is a terminal to draw it on."""
    observe: Callable[[Event], object] | None = None
    strict: bool = False
    """Whether an observer that fails is an error of the run."""


def ledger_of(store: Store, where: str | os.PathLike[str] | bool | None) -> Ledger | None:
    """Return where runs on a store are recorded; None if they are not.

    What a store of this process forgets is recorded only if somebody asks for it.
    """
    if where is False:
        return None
    if where is None and store.is_process_local and not os.environ.get(VARIABLE):
        return None
    return find_ledger(None if where is True else where, store.local_folder)


def _expected_by(ledger: Ledger | None) -> Expected | None:
    """Return how long ops take by what is recorded of earlier runs."""
    if ledger is None:
        return None
    history = History(ledger)

    def expected(op: str) -> int | None:
        found = history.durations([op]).get(op)
        return None if found is None else found.median

    return expected


@contextmanager
def recorded(
    run: Run, store: Store, recording: Recording | None, asked: Mapping[str, Any]
) -> Iterator[Teller | None]:
    """Tell of a run for the length of a block, and let it have its final state.

    Parameters
    ----------
    run
        The run.
    store
        Its store.
    recording
        Who wants to know; None if nobody does, whatever it meets.
    asked
        What was asked: fields of `ledger.events.RunStarted`.

    Raises
    ------
    ObserverError
        If it is strict, ended well, and somebody who was to be told failed.
    """
    if recording is None:
        yield None
        return

    def sinks() -> Mapping[str, Sink]:
        found: dict[str, Sink] = {}
        ledger = ledger_of(store, recording.ledger)
        if ledger is not None:
            found["the journal"], found["the history"] = open_sinks(ledger, run.id, recorder.state)
            run.journal = ledger.journal(run.id)
        if recording.observe is not None:
            found["the observer"] = Calls(recording.observe)
        if recording.progress is True and sys.stderr is not None and sys.stderr.isatty():
            from invariant_dask.view.console import Bar

            found["the progress bar"] = Bar(_expected_by(ledger))
        return found

    recorder = Recorder(run.id, strict=recording.strict)
    progress = recording.progress if callable(recording.progress) else None
    teller = Teller(run, store, recorder, asked, progress, sinks)
    if recording.wanted:
        teller.wake()
    try:
        with teller.watching():
            yield teller
        if teller.is_awake:
            run.state = teller.ended(None)
    except BaseException as error:
        recorder.strict = False  # this is what the user must hear about
        if teller.is_awake:
            run.state = teller.ended(error)
        recorder.close()
        raise
    recorder.close()
