"""Stores in trouble: slow ones, and ones that fail. They wrap real stores."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from invariant_dask.errors import StoreUnavailableError
from invariant_dask.store.base import Store, StoreRef, openers
from invariant_dask.store.wrapping import WrappedRef, Wrapper, opens_as

P = ParamSpec("P")
T = TypeVar("T")


class SlowStore(Wrapper):
    """A store whose answers take a while, such as one far away.

    Parameters
    ----------
    inner
        The store.
    seconds
        How long each request takes beyond what the store itself takes.
    sleep
        What to wait by.
    """

    kind = "slow"

    def __init__(
        self, inner: Store, seconds: float = 0.01, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        super().__init__(inner)
        self.seconds = seconds
        self._sleep = sleep
        self.requests = 0
        """How many requests were made."""

    def _options(self) -> dict[str, Any]:
        return {"seconds": self.seconds}

    def _call(self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        self.requests += 1
        self._sleep(self.seconds)
        return method(*args, **kwargs)


class FlakyStore(Wrapper):
    """A store that fails: every so often, by chance, or while it is down.

    Parameters
    ----------
    inner
        The store.
    every
        Fail every so many requests; 0 for never.
    rate
        Fail this part of the requests, by chance.
    seed
        What chance starts from.
    down_while
        A file: as long as it exists all requests fail, in whatever process.
    only
        The requests that may fail, by name, such as `"_write_blobs"`; all by default.

    Notes
    -----
    A request that fails does nothing; with `after=True` it is done, and only its answer is lost.
    """

    kind = "flaky"

    def __init__(
        self,
        inner: Store,
        *,
        every: int = 0,
        rate: float = 0.0,
        seed: int = 0,
        down_while: str | Path | None = None,
        only: Collection[str] = (),
        after: bool = False,
    ) -> None:
        super().__init__(inner)
        self.every = every
        self.rate = rate
        self.seed = seed
        self.down_while = None if down_while is None else str(down_while)
        self.only = tuple(sorted(only))
        self.after = after
        self.is_down = False
        """Set it to let all requests of this process fail."""
        self.requests = 0
        """How many requests were made that may fail."""
        self.failures = 0
        """How many of them failed."""
        self._chance = random.Random(seed)  # noqa: S311
        self._lock = threading.Lock()

    def _options(self) -> dict[str, Any]:
        return {
            "every": self.every, "rate": self.rate, "seed": self.seed,
            "down_while": self.down_while, "only": self.only, "after": self.after,
        }  # fmt: skip

    def _after_fork(self) -> None:
        super()._after_fork()
        self._lock = threading.Lock()

    def _call(self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        name = method.__name__
        if self.only and name not in self.only:
            return method(*args, **kwargs)
        with self._lock:
            self.requests += 1
            down = self.is_down or (self.down_while is not None and Path(self.down_while).exists())
            fails = (
                down
                or bool(self.every and self.requests % self.every == 0)
                or bool(self.rate and self._chance.random() < self.rate)
            )
            self.failures += fails
        if not fails:
            return method(*args, **kwargs)
        if self.after:
            method(*args, **kwargs)
        raise StoreUnavailableError(f"{self.url} is made to fail ({name})")


openers[SlowStore.kind] = opens_as(SlowStore)


def _open_flaky(ref: StoreRef) -> Store:
    assert isinstance(ref, WrappedRef)
    switch = dict(ref.settings)["down_while"]
    if switch is not None and Path(switch).exists():
        raise StoreUnavailableError(f"{ref.url} is made to fail (opening)")
    return opens_as(FlakyStore)(ref)


openers[FlakyStore.kind] = _open_flaky
