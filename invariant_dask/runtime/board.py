"""What a scheduler remembers of its latest runs, from the messages of clients and workers.

A board only counts: it knows neither Dask nor how things look. Whatever it is sent, it takes
bounded memory and raises nothing.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping

from invariant_dask.errors import EventError
from invariant_dask.ledger.events import SCHEMA, from_json
from invariant_dask.runtime.board_run import WatchedRun
from invariant_dask.runtime.board_totals import Totals
from invariant_dask.runtime.board_trim import trim

RUNS = 20
"""How many runs are remembered: the latest."""

FULL_RUNS = 3
"""How many of these with all nodes of their window; the others with the latest few."""

FEW = 200

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
        self.runs: OrderedDict[str, WatchedRun] = OrderedDict()
        """By id, the latest last."""
        self.totals = Totals()
        self.dropped = 0
        """How many events, or whole messages, nobody could read."""
        self.received = 0

    @property
    def latest(self) -> WatchedRun | None:
        """The run that began last."""
        return next(reversed(self.runs.values()), None)

    def receive(self, message: object) -> None:
        """Take a message in: `{"v": 1, "events": [...]}`; whatever else it is, it is dropped."""
        if not isinstance(message, Mapping) or "events" not in message:
            return  # an announcement of an outcome, which clients listen for
        events = message["events"]
        if message.get("v") != SCHEMA or not isinstance(events, (list, tuple)):
            self.dropped += 1
            return
        sender = message.get("worker")
        sender = sender if isinstance(sender, str) else ""
        for data in events[:BATCH]:
            self._receive(data, sender)
        self.dropped += max(0, len(events) - BATCH)

    def _receive(self, data: object, sender: str) -> None:
        self.received += 1
        try:
            event = from_json(trim(data, sender) if isinstance(data, Mapping) else data)
        except EventError:
            self.dropped += 1
            return
        if event is None:
            return  # of a newer version
        run = self.runs.get(event.run)
        if run is None:
            run = self._begin(event.run)
        node = run.add(event)
        if node is not None:
            self.totals.add_outcome(node, node.state)
        self.totals.add_event(event)

    def _begin(self, name: str) -> WatchedRun:
        run = self.runs[name] = WatchedRun(name)
        while len(self.runs) > RUNS:
            self.runs.popitem(last=False)
        for older in list(self.runs.values())[:-FULL_RUNS]:
            older.shrink(FEW)
        return run
