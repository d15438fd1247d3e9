"""What a scheduler remembers of its latest runs, from the messages of clients and workers.

A board only counts: it knows neither Dask nor how things look. Whatever it is sent, it takes
bounded memory and raises nothing. Messages are read when somebody looks, or when too many wait: a
scheduler has better things to do while nobody does.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from typing import Any

from invariant_dask.errors import EventError
from invariant_dask.ledger.coding import from_json
from invariant_dask.ledger.events import SCHEMA
from invariant_dask.runtime.board_run import WatchedRun
from invariant_dask.runtime.board_totals import Totals
from invariant_dask.runtime.board_trim import trim
from invariant_dask.runtime.outbox import MESSAGE_LIMIT, events_in

RUNS = 20
"""How many runs are remembered: the latest."""

FULL_RUNS = 3
"""How many of these with all nodes of their window; the others with the latest few."""

FEW = 200

UNREAD = 16 << 20
"""How many characters of messages may wait to be read."""

_OVERHEAD = 500

BATCH = 50_000
"""The most events of one message that are read."""


class Board:
    """The latest runs, and numbers of all since the scheduler began.

    Parameters
    ----------
    clock
        Returns nanoseconds since 1970.
    """

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        self.clock = clock
        self._runs: OrderedDict[str, WatchedRun] = OrderedDict()
        self._totals = Totals()
        self._dropped = 0
        self._received = 0
        self._unread: deque[Mapping[Any, Any]] = deque()
        self._unread_size = 0

    @property
    def runs(self) -> OrderedDict[str, WatchedRun]:
        """The latest runs by id, the latest last."""
        self._read()
        return self._runs

    @property
    def totals(self) -> Totals:
        """Numbers of all runs."""
        self._read()
        return self._totals

    @property
    def dropped(self) -> int:
        """How many events, or whole messages, nobody could read."""
        self._read()
        return self._dropped

    @property
    def received(self) -> int:
        """How many events came in."""
        self._read()
        return self._received

    @property
    def latest(self) -> WatchedRun | None:
        """The run that began last."""
        return next(reversed(self.runs.values()), None)

    def receive(self, message: object) -> None:
        """Take a message in: as `outbox.message` makes them; whatever else it is, it is dropped."""
        if not isinstance(message, Mapping) or "events" not in message:
            return  # an announcement of an outcome, which clients listen for
        events = message["events"]
        if not isinstance(events, str) or len(events) > MESSAGE_LIMIT:
            self._dropped += 1
            return
        self._unread.append(message)
        self._unread_size += _OVERHEAD + len(events)
        self._read(UNREAD)

    def _read(self, most: int = 0) -> None:
        """Read messages, until no more than so many characters of them wait."""
        while self._unread and self._unread_size > most:
            message = self._unread.popleft()
            self._unread_size -= _OVERHEAD + len(message["events"])
            self._read_message(message)

    def _read_message(self, message: Mapping[Any, Any]) -> None:
        try:
            events = events_in(message) if message.get("v") == SCHEMA else None
        except EventError:
            events = None
        if events is None:
            self._dropped += 1
            return
        sender = message.get("worker")
        sender = sender if isinstance(sender, str) else ""
        for data in events[:BATCH]:
            self._receive(data, sender)
        self._dropped += max(0, len(events) - BATCH)

    def _receive(self, data: object, sender: str) -> None:
        self._received += 1
        try:
            event = from_json(trim(data, sender) if isinstance(data, Mapping) else data)
        except EventError:
            self._dropped += 1
            return
        if event is None:
            return  # of a newer version
        run = self._runs.get(event.run)
        if run is None:
            run = self._begin(event.run)
        node = run.add(event)
        if node is not None:
            self._totals.add_outcome(node, node.state)
        self._totals.add_event(event)

    def _begin(self, name: str) -> WatchedRun:
        run = self._runs[name] = WatchedRun(name)
        while len(self._runs) > RUNS:
            self._runs.popitem(last=False)
        for older in list(self._runs.values())[:-FULL_RUNS]:
            older.shrink(FEW)
        return run
