"""What workers and clients tell a scheduler, gathered: its time is everybody's."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from invariant_dask.errors import EventError
from invariant_dask.ledger.coding import to_json
from invariant_dask.ledger.events import (
    SCHEMA,
    Event,
    NodeEvent,
    NodeFinished,
    NodeStarted,
)

TOPIC = "invariant-dask"
"""The event topic of a scheduler on which events are announced."""

_EVERY = 0.1
_MANY = 256
_MOST = 1000

MESSAGE_LIMIT = 64 << 20
"""The most characters that are read of a message."""

logger = logging.getLogger("invariant_dask.runtime")

_outboxes: WeakKeyDictionary[Any, Outbox] = WeakKeyDictionary()
_lock = threading.Lock()


class Outbox:
    """The events of one worker that are on their way."""

    def __init__(self, worker: Any) -> None:
        self._worker = worker
        self._lock = threading.Lock()
        self._waiting: list[dict[str, Any]] = []
        self._begun: dict[tuple[str, str], dict[str, Any]] = {}
        """What waits of nodes of which the latest that was told is that their op was called."""
        self._is_due = False

    def emit(self, event: Event) -> None:
        """Send an event, soon; that an op was called, together with what came of it, if it can be.

        Most ops are done before anything is sent, and half of all events would say that they began.
        """
        data = to_json(event)
        with self._lock:
            self._waiting.append(data)
            if isinstance(event, NodeEvent):
                key = event.run, event.digest
                begun = self._begun.pop(key, None)
                if isinstance(event, NodeStarted):
                    self._begun[key] = data
                elif begun is not None and isinstance(event, NodeFinished):
                    data["began"] = begun["time"]
                    begun.clear()
            first, self._is_due = not self._is_due, True
            many = len(self._waiting) >= _MANY
        if first:
            loop = self._worker.loop
            loop.add_callback(loop.call_later, _EVERY, self.flush)
        if many:
            self.flush()

    def flush(self) -> None:
        """Send what waits now."""
        with self._lock:
            waiting, self._waiting = list(filter(None, self._waiting)), []
            self._begun, self._is_due = {}, False
        if waiting:
            self._worker.log_event(TOPIC, message("worker", waiting))


def outbox_of(worker: Any) -> Outbox:
    """Return the outbox of a worker."""
    found = _outboxes.get(worker)
    if found is None:
        with _lock:
            found = _outboxes.get(worker)
            if found is None:
                found = _outboxes[worker] = Outbox(worker)
                worker.loop.add_callback(worker.plugin_add, _flushing(found))
    return found


def _flushing(outbox: Outbox) -> Any:
    """Return a plugin of the worker that sends what waits before the worker closes."""
    from distributed.diagnostics.plugin import WorkerPlugin

    class Flushing(WorkerPlugin):  # type: ignore[misc]  # distributed is untyped here
        name = "invariant-dask-outbox"

        def teardown(self, worker: Any) -> None:  # noqa: ARG002  as Dask calls it
            outbox.flush()

    return Flushing()


class Page:
    """Where a client tells the scheduler of a run, for its dashboard."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def send(self, events: Sequence[Event]) -> None:
        """Send events; a scheduler that is gone hears nothing, and the run says so itself."""
        for at in range(0, len(events), _MOST):
            batch = [to_json(event) for event in events[at : at + _MOST]]
            if self._client.status != "running":
                return
            try:
                self._client.log_event(TOPIC, message("client", batch))
            except (OSError, TimeoutError) as error:
                logger.info("the dashboard is not told of the run: %s", error)
                return


def message(sender: str, events: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what goes over the topic.

    The events are one text: a scheduler would otherwise look at each of their fields, twice.
    """
    return {"v": SCHEMA, "from": sender, "events": json.dumps(events, separators=(",", ":"))}


def events_in(message: object) -> Sequence[object]:
    """Return the events of a message as JSON; there are none in what is another one, or damaged.

    Raises
    ------
    EventError
        If it cannot be read.
    """
    text = message.get("events") if isinstance(message, Mapping) else None
    if text is None:
        return ()
    if not isinstance(text, str) or len(text) > MESSAGE_LIMIT:
        raise EventError("the events of a message must be a text, and not too long")
    try:
        events = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise EventError(f"the events of a message are no JSON: {error}") from None
    if not isinstance(events, list):
        raise EventError("the events of a message must be a list")
    return events


def say_settled(worker: Any, token: str) -> None:
    """Send what waits, and behind it a word that this was all."""
    outbox_of(worker).flush()
    worker.log_event(TOPIC, {"v": SCHEMA, "from": "worker", "settled": token})
