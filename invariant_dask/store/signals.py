"""What happens in stores beside what was asked: told to whoever in this process wants to know."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple

logger = logging.getLogger("invariant_dask.store")


class Signal(NamedTuple):
    """Something that a run may want to tell of."""

    kind: str
    """`quarantined` or `down`."""
    store: str
    """The URL of the store or tier."""
    digest: bytes
    """Of what was set aside; empty for a whole store."""
    reason: str


_observers: list[Callable[[Signal], None]] = []


def observe(observer: Callable[[Signal], None]) -> None:
    """Call a function with all signals from now on, in the thread where they come up."""
    _observers.append(observer)


def send(signal: Signal) -> None:
    """Tell all observers; one that fails keeps nobody from storing."""
    for observer in _observers:
        try:
            observer(signal)
        except Exception:
            logger.exception("an observer of stores failed")
