"""What a client agrees on with a cluster: one store that all see, listeners for events.

A scheduler is one store and trust domain: who shares its keys believes the same signatures. The
first user pins it in the scheduler's metadata; whoever comes with another store or policy works
under salted keys, so that neither is handed results that only the other's store has, or believes.
"""

from __future__ import annotations

import logging
import os
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from invariant_dask.core.digest import sha256
from invariant_dask.errors import EventError, StoreNotSharedError, StoreUnavailableError
from invariant_dask.ledger.events import Event, NodeFinished, NodeStarted, from_json
from invariant_dask.runtime.outbox import TOPIC, events_in
from invariant_dask.store.opening import StoreRef

if TYPE_CHECKING:
    from distributed import Client

    from invariant_dask.store.base import Store

_checked: WeakKeyDictionary[Any, dict[str, frozenset[str]]] = WeakKeyDictionary()
_listeners: WeakKeyDictionary[Any, list[Listener]] = WeakKeyDictionary()
_lock = threading.Lock()

_PATIENCE = 10.0

logger = logging.getLogger("invariant_dask.runtime")


def _after_fork() -> None:
    global _lock  # noqa: PLW0603  a thread that the child does not have may hold it
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)


def check_shared(client: Client, store: Store) -> None:
    """Open the client's store on every worker that was not asked yet.

    Raises
    ------
    StoreNotSharedError
        If a worker does not see it; nothing was submitted.
    """
    ref = store.ref()
    try:
        ref.show()
    except StoreUnavailableError as error:
        msg = f"workers cannot check that they see the store: {error}"
        raise StoreNotSharedError(msg) from error
    workers = frozenset(client.scheduler_info(n_workers=-1)["workers"])
    seen = _checked.setdefault(client, {})
    fresh = workers - seen.get(ref.token, frozenset())
    if not fresh:
        return
    answers = client.run(_try_to_open, ref, workers=sorted(fresh))
    refusals = {worker: answer for worker, answer in answers.items() if answer}
    if refusals:
        worker, reason = min(refusals.items())
        msg = f"worker {worker} does not see the store of this client: {reason}"
        raise StoreNotSharedError(msg)
    seen[ref.token] = workers


def _try_to_open(ref: StoreRef) -> str:
    from invariant_dask.errors import StoreError

    try:
        ref.open()
    except StoreError as error:
        return str(error)
    return ""


def domain_salt(client: Client, store: Store) -> bytes:
    """Return nothing for the store and policy that the scheduler is pinned to, else a salt."""
    pinned = client.run_on_scheduler(_pin, store.domain)
    if pinned == store.domain:
        return b""
    warnings.warn(
        f"this scheduler works with the store {pinned}; with {store.domain}, tasks get keys of "
        "their own and share nothing with other users of the scheduler",
        stacklevel=2,
    )
    return sha256(store.domain.encode()).digest()


def _pin(domain: str, dask_scheduler: Any) -> str:
    """Return what a scheduler is pinned to: the first store that anybody comes with."""
    metadata = dask_scheduler.task_metadata.setdefault("invariant-dask", {})
    return str(metadata.setdefault("store", domain))


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
            mine = [
                from_json(each)
                for each in events_in(data)
                if isinstance(each, dict) and each.get("run") == self.run
            ]
        except EventError as error:
            logger.warning("events of a worker cannot be read: %s", error)
            return
        for event in mine:
            if event is None:
                continue
            if isinstance(event, NodeFinished) and event.began:
                self.emit(_start_of(event))
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
