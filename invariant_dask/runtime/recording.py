"""Record a run: where its events go, and how the run itself is told when it is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from invariant_dask.ledger.events import Event
from invariant_dask.ledger.recorder import Calls, Recorder, Sink
from invariant_dask.runtime.run import Run
from invariant_dask.runtime.telling import Progress, Teller
from invariant_dask.store.base import Store


@dataclass(frozen=True)
class Recording:
    """Who wants to know of a run."""

    wanted: bool = False
    """Whether it is told of at all; one on a cluster always is."""
    progress: Progress | None = None
    observe: Callable[[Event], object] | None = None
    strict: bool = False
    """Whether an observer that fails is an error of the run."""


@contextmanager
def recorded(
    run: Run, store: Store, recording: Recording, asked: Mapping[str, Any]
) -> Iterator[Teller]:
    """Tell of a run for the length of a block, and let it have its final state.

    Parameters
    ----------
    run
        The run.
    store
        Its store.
    recording
        Who wants to know.
    asked
        What was asked: fields of `ledger.events.RunStarted`.

    Raises
    ------
    ObserverError
        If it is strict, ended well, and somebody who was to be told failed.
    """

    def sinks() -> Mapping[str, Sink]:
        found: dict[str, Sink] = {}
        if recording.observe is not None:
            found["the observer"] = Calls(recording.observe)
        return found

    recorder = Recorder(run.id, strict=recording.strict)
    teller = Teller(run, store, recorder, asked, recording.progress, sinks)
    if recording.wanted:
        teller.wake()
    try:
        with teller.watching():
            yield teller
    except BaseException as error:
        recorder.strict = False  # the run's own failure is what the user must hear about
        if teller.is_awake:
            run.state = teller.ended(error)
        recorder.close()
        raise
    if teller.is_awake:
        run.state = teller.ended(None)
    recorder.close()
