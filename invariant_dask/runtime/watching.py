"""Tell what happens while a node is produced: attempts, log lines of its op, trouble of stores.

Whoever produces a node for a run that is told of says so with `produce_and_tell`; what happens in
between, in the same thread, finds the node here.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from invariant_dask.ledger.events import (
    AttemptFailed,
    Event,
    NodeFinished,
    NodeReused,
    NodeStarted,
    OpLogged,
    StoreHit,
    StoreQuarantined,
    TierDown,
    cut,
)
from invariant_dask.runtime.arguments import secrets_in
from invariant_dask.runtime.failures import without
from invariant_dask.runtime.handle import Handle
from invariant_dask.runtime.spec import Spec
from invariant_dask.store import signals

Emit = Callable[[Event], None]


class Watch:
    """Where to tell of what happens in this thread."""

    def __init__(self, emit: Emit, run: str, spec: Spec | None = None, worker: str = "") -> None:
        self.emit = emit
        self.run = run
        self.spec = spec
        self.worker = worker
        self.running = False

    def about(self) -> dict[str, Any]:
        """Return the fields that all events of the node share."""
        spec = self.spec
        node, digest = (spec.node, spec.planned.hex()) if spec is not None else ("", "")
        return {"time": time.time_ns(), "run": self.run, "node": node, "digest": digest}

    def started(self, attempt: int) -> None:
        """Tell that the op is called now."""
        assert self.spec is not None
        self.running = True
        op = self.spec.job.code.name
        self.emit(NodeStarted(**self.about(), op=op, attempt=attempt, worker=self.worker))

    def attempt_failed(self, attempt: int, error: str) -> None:
        """Tell that the op failed and is called once more."""
        worker = self.worker
        self.emit(AttemptFailed(**self.about(), attempt=attempt, error=cut(error), worker=worker))


_here: ContextVar[Watch | None] = ContextVar("invariant_dask_watch", default=None)


def watched_node() -> Watch | None:
    """Return where to tell of the node that this thread produces, if anywhere."""
    watch = _here.get()
    return watch if watch is not None and watch.spec is not None else None


@contextmanager
def watching(watch: Watch) -> Iterator[None]:
    """Tell what happens in a block."""
    _listen()
    token = _here.set(watch)
    try:
        yield
    finally:
        _here.reset(token)


def produce_and_tell(
    produce: Callable[[], Handle], spec: Spec, emit: Emit, worker: str = ""
) -> Handle:
    """Produce the artifact of a node, and tell how it went unless it failed.

    Failures are told where the run was asked for, which hears of them by the exception.
    """
    run = spec.job.info.run
    with watching(Watch(emit, run, spec, worker)):
        handle = produce()
    for event in outcome_of(handle, spec.node, spec.job.code.name, run):
        emit(event)
    return handle


def outcome_of(handle: Handle, node: str, op: str, run: str) -> Sequence[Event]:
    """Return the events that tell how a node came to its artifact."""
    outcome, record = handle.outcome, handle.record
    about: dict[str, Any] = {
        "time": time.time_ns(), "run": run, "node": node, "digest": handle.planned.hex()
    }  # fmt: skip
    artifact = handle.hash.hex()
    if outcome.kind == "ran":
        finished = NodeFinished(
            **about, op=op, resolved=record.resolved.hex() if record is not None else "",
            artifact=artifact, type=handle.kind, size=handle.size, kept=record is not None,
            nanoseconds=outcome.nanoseconds, attempt=outcome.attempts, worker=outcome.worker,
            tier=handle.store.url if record is not None else "", storing=outcome.storing,
        )  # fmt: skip
        return (finished,)
    by = "planned" if outcome.kind == "stored" else "resolved"
    saved = record.about.nanoseconds if record is not None else 0
    return (
        StoreHit(**about, by=by, tier=handle.store.url, size=handle.size),
        NodeReused(
            **about, op=op, by=by, artifact=artifact, type=handle.kind, size=handle.size,
            saved=saved,
        ),
    )  # fmt: skip


# --- what others tell us ---

_lock = threading.Lock()
_listening = False


def _listen() -> None:
    """Hear what ops log and what goes wrong in stores, from the first run that is told of on."""
    global _listening
    if _listening:
        return
    with _lock:
        first, _listening = not _listening, True
        if not first:
            return
        signals.observe(_signalled)
        # Not a handler: the root logger without one behaves differently.
        make = logging.getLogRecordFactory()

        def factory(*args: Any, **kwargs: Any) -> logging.LogRecord:
            record = make(*args, **kwargs)
            watch = _here.get()
            if watch is not None and watch.running:
                _logged(watch, record)
            return record

        logging.setLogRecordFactory(factory)


def _logged(watch: Watch, record: logging.LogRecord) -> None:
    if record.name.startswith(("invariant_dask", "distributed", "asyncio")):
        return
    assert watch.spec is not None
    try:
        text = record.getMessage()
    except Exception as error:  # noqa: BLE001  the logging module tells the op of it
        text = f"(a line that cannot be shown: {type(error).__name__})"
    text = cut(without(secrets_in(watch.spec.parts), text))
    watch.emit(OpLogged(**watch.about(), level=record.levelname, logger=record.name, text=text))


def _signalled(signal: signals.Signal) -> None:
    watch = _here.get()
    if watch is None:
        return
    if signal.kind == "down":
        down = TierDown(
            time=time.time_ns(), run=watch.run, tier=signal.store, reason=cut(signal.reason)
        )
        watch.emit(down)
        return
    about = watch.about()
    if not about["digest"]:
        about["digest"] = signal.digest.hex()
    watch.emit(StoreQuarantined(**about, tier=signal.store, reason=cut(signal.reason)))
