"""What happens in stores beside what was asked: told to whoever in this process wants to know."""

from __future__ import annotations

import logging
import os
import socket
import time
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


def damage_report(store: str, what: str, name: bytes, expected: str, seen: str) -> dict[str, str]:
    """Return what is kept beside something damaged, for people."""
    return {
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "store": store,
        "seen_by": f"{socket.gethostname()}, process {os.getpid()}",
        "what": what,
        "name": name.hex(),
        "expected": expected,
        "seen": seen,
    }


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
