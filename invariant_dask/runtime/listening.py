"""Hear what the workers of a cluster tell of the nodes of a run."""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from invariant_dask.errors import EventError
from invariant_dask.ledger.coding import from_json
from invariant_dask.ledger.events import Event, NodeFinished, NodeStarted
from invariant_dask.runtime.outbox import TOPIC, events_in

if TYPE_CHECKING:
    from distributed import Client

_PATIENCE = 10.0

_listeners: WeakKeyDictionary[Any, list[Listener]] = WeakKeyDictionary()
_lock = threading.Lock()

logger = logging.getLogger("invariant_dask.runtime")


def _after_fork() -> None:
    global _lock  # noqa: PLW0603  a thread that the child does not have may hold it
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)


class Listener:
    """Hears the events of one run that workers of a cluster send."""

    def __init__(self, run: str, emit: Callable[[Event], None]) -> None:
        self.run = run
        self.emit = emit
        self._settled: Counter[str] = Counter()
        self._changed = threading.Condition()

    def hear(self, data: Any) -> None:
        """Take what came over the topic; what is no event of ours is for others, or damaged."""
        if not isinstance(data, dict) or data.get("from") != "worker":
            return
        token = data.get("settled")
        if isinstance(token, str):
            with self._changed:
                self._settled[token] += 1
                self._changed.notify_all()
        try:
            events = events_in(data)
        except EventError as error:
            logger.warning("events of a worker cannot be read: %s", error)
            return
        for each in events:
            if isinstance(each, dict) and each.get("run") == self.run:
                self._take(each)

    def _take(self, data: dict[str, Any]) -> None:
        try:
            event = from_json(data)
        except EventError as error:
            logger.warning("an event of a worker cannot be read: %s", error)
            return
        if isinstance(event, NodeFinished) and event.began:
            self.emit(_start_of(event))
        if event is not None:
            self.emit(event)

    def await_settled(self, token: str, workers: int) -> bool:
        """Wait until so many workers have sent all they had; False if that takes too long."""
        with self._changed:
            return self._changed.wait_for(lambda: self._settled[token] >= workers, _PATIENCE)


def _start_of(event: NodeFinished) -> NodeStarted:
    """Return the event that was told together with the end of a node."""
    return NodeStarted(
        time=event.began, run=event.run, node=event.node, digest=event.digest, op=event.op,
        attempt=event.attempt, worker=event.worker,
    )  # fmt: skip


@contextmanager
def listening(client: Client, listener: Listener | None) -> Iterator[None]:
    """Let a listener hear what workers send, for the length of a block."""
    if listener is None:
        yield
        return
    with _lock:
        listeners = _listeners.get(client)
        if listeners is None:
            listeners = _listeners[client] = []
            client.subscribe_topic(TOPIC, _dispatcher(listeners))
        listeners.append(listener)
    try:
        yield
    finally:
        with _lock:
            listeners.remove(listener)


def _dispatcher(listeners: list[Listener]) -> Any:
    def dispatch(event: tuple[float, Any]) -> None:
        for listener in list(listeners):
            listener.hear(event[1])

    return dispatch
