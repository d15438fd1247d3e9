"""Take the events of a run from any thread, and hand them on in a thread of their own.

An observer must not break what it observes: one that fails is told of once and dropped, unless the
run is strict.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from invariant_dask.errors import ObserverError
from invariant_dask.ledger.events import Event
from invariant_dask.ledger.folding import RunState, fold

logger = logging.getLogger("invariant_dask.ledger")

_EVERY = 0.1
_MANY = 4096


class Sink(Protocol):
    """Somewhere that events go: a file, a database, a page, a function of the user's."""

    def write(self, events: Sequence[Event]) -> None: ...

    def close(self) -> None: ...


class Calls:
    """A sink that calls a function with each event."""

    def __init__(self, function: Callable[[Event], object]) -> None:
        self._function = function

    def write(self, events: Sequence[Event]) -> None:
        for event in events:
            self._function(event)

    def close(self) -> None:
        pass


class Recorder:
    """Keeps the state of a run, and its sinks up to date.

    Parameters
    ----------
    run
        The id of the run; events of others are dropped.
    strict
        Whether the failure of a sink is raised where the run was asked for.
    """

    def __init__(self, run: str, *, strict: bool = False) -> None:
        self.run = run
        self.strict = strict
        self.state = RunState(run)
        self._sinks: dict[str, Sink] = {}
        self._waiting: list[Event] = []
        self._lock = threading.Lock()
        self._handing = threading.Lock()
        self._wake = threading.Event()
        self._ended = False
        self._thread: threading.Thread | None = None
        self._failed: ObserverError | None = None

    def add(self, name: str, sink: Sink) -> None:
        """Let a sink have all events from now on; those that wait go to it as well."""
        with self._handing:
            self._sinks[name] = sink

    def emit(self, event: Event) -> None:
        """Take an event; cheap, and safe from any thread."""
        with self._lock:
            self._waiting.append(event)
            many = len(self._waiting) >= _MANY
        if many:
            self._wake.set()

    def start(self) -> None:
        """Begin to hand events on while the run goes on; before that, they wait."""
        if self._thread is None:
            name = "invariant-dask-ledger"
            self._thread = threading.Thread(target=self._work, name=name, daemon=True)
            try:
                self._thread.start()
            except RuntimeError as error:  # they are handed on at the end, then
                logger.warning("events are not told while the run goes on: %s", error)

    def _work(self) -> None:
        while not self._ended:
            self._wake.wait(_EVERY)
            self._wake.clear()
            self._hand_on()

    def _hand_on(self) -> None:
        with self._handing:
            with self._lock:
                events, self._waiting = self._waiting, []
            if not events:
                return
            events = [event for event in events if event.run == self.run]
            fold(events, self.state)
            for name in list(self._sinks):
                self._try(name, lambda sink: sink.write(events))

    def _try(self, name: str, do: Callable[[Sink], None]) -> None:
        try:
            do(self._sinks[name])
        except Exception as error:
            del self._sinks[name]
            logger.warning(
                "%s of run %s failed and hears no more: %s: %s",
                name, self.run[:8], type(error).__name__, error, exc_info=True,
            )  # fmt: skip
            if self._failed is None:
                self._failed = ObserverError(observer=name, reason=f"{error!r}")
                self._failed.__cause__ = error

    def flush(self) -> RunState:
        """Hand on what waits, and return the state with it.

        Raises
        ------
        ObserverError
            If the run is strict and a sink failed.
        """
        self._hand_on()
        self._complain()
        return self.state

    def close(self) -> None:
        """Hand on what waits, and let the sinks go.

        Raises
        ------
        ObserverError
            If the run is strict and a sink failed that nobody was told of.
        """
        self._ended = True
        self._wake.set()
        if self._thread is not None and self._thread.ident is not None:
            self._thread.join()
        self._hand_on()
        with self._handing:
            for name in list(self._sinks):
                self._try(name, lambda sink: sink.close())
            self._sinks.clear()
        self._complain()

    def _complain(self) -> None:
        failed, self._failed = self._failed, None
        if failed is not None and self.strict:
            raise failed
