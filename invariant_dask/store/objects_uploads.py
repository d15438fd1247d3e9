"""Small artifacts on their way into an object store, many at once.

Inside of a block, publishing hands an artifact over and goes on; what is on its way is seen by this
process. At the end of the block all of it has arrived, or it is said what has not. Two things
under one name go one after the other.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from invariant_dask.core.digest import BlobId
from invariant_dask.store.record import EntryRow

if TYPE_CHECKING:
    from typing_extensions import Buffer

logger = logging.getLogger("invariant_dask.store")

SMALL = 1 << 20
"""What is larger does not wait."""

_MOST = 256
_MOST_BYTES = 64 << 20

Blobs = Mapping[BlobId, "Buffer"]


class Uploads:
    """What is on its way.

    Parameters
    ----------
    start
        Begins to write an artifact; returns a future.
    name
        What to call the store in messages.
    """

    def __init__(self, start: Callable[[Blobs, Sequence[EntryRow]], Any], name: str) -> None:
        self._start = start
        self._name = name
        self.after_fork()

    def after_fork(self) -> None:
        """Forget what belongs to the parent process."""
        self._changed = threading.Condition()
        self._users = 0
        self._bytes = 0
        self._entries: dict[bytes, bytes] = {}
        self._blobs: dict[BlobId, Buffer] = {}
        self._waiting: dict[int, int] = {}
        self._number = 0
        self._lost: Counter[str] = Counter()
        self._reason = ""

    @property
    def is_open(self) -> bool:
        """Whether anybody is inside of a block."""
        return self._users > 0

    @contextmanager
    def open(self) -> Iterator[None]:
        """Let artifacts overlap for the length of a block."""
        with self._changed:
            self._users += 1
        try:
            yield
        finally:
            with self._changed:
                self._users -= 1
            self.flush()
            with self._changed:
                lost, reason = dict(self._lost), self._reason
            if lost:  # whoever asks for it is told as well
                told = ", ".join(f"{count} of {op}" for op, count in lost.items())
                logger.warning("%s: not persisted: %s: %s", self._name, told, reason)

    def add(self, blobs: Blobs, rows: Sequence[EntryRow], size: int) -> None:
        """Take an artifact over; wait while too much is on its way."""
        with self._changed:
            self._changed.wait_for(lambda: self._has_room(blobs, rows, size))
            self._number += 1
            number = self._number
            self._waiting[number] = size
            self._bytes += size
            self._entries.update((row.digest, row.data) for row in rows)
            self._blobs.update(blobs)
        try:
            future = self._start(blobs, rows)
        except BaseException as error:
            # Nobody would ever say that it has arrived.
            self._arrived(number, blobs, rows, error)
            raise
        future.add_done_callback(lambda done: self._arrived(number, blobs, rows, _trouble(done)))

    def _has_room(self, blobs: Blobs, rows: Sequence[EntryRow], size: int) -> bool:
        # The last to be written must be the last that was given.
        if any(row.digest in self._entries for row in rows):
            return False
        if not self._blobs.keys().isdisjoint(blobs):
            return False
        return not self._waiting or (
            len(self._waiting) < _MOST and self._bytes + size <= _MOST_BYTES
        )

    def _arrived(
        self, number: int, blobs: Blobs, rows: Sequence[EntryRow], error: BaseException | None
    ) -> None:
        with self._changed:
            self._bytes -= self._waiting.pop(number)
            for row in rows:
                del self._entries[row.digest]
            for blob in blobs:
                del self._blobs[blob]
            if error is not None:
                self._note(rows, error)
            self._changed.notify_all()

    def _note(self, rows: Sequence[EntryRow], error: BaseException) -> None:
        self._lost[rows[0].op if rows else "a blob"] += 1
        self._reason = str(error)

    def flush(self) -> None:
        """Wait until all that was taken over has arrived or is lost."""
        with self._changed:
            last = self._number
            self._changed.wait_for(lambda: not any(n <= last for n in self._waiting))

    def take_losses(self) -> tuple[Counter[str], str]:
        """Return of which ops what could not be written since this was last asked, and why."""
        with self._changed:
            lost, self._lost = self._lost, Counter()
            return lost, self._reason

    def entries(self, digests: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the entries that are on their way."""
        if not self._entries:
            return {}
        with self._changed:
            entries = self._entries
            return {digest: entries[digest] for digest in digests if digest in entries}

    def blob(self, blob: BlobId) -> Buffer | None:
        """Return a blob that is on its way."""
        return self._blobs.get(blob)


def _trouble(done: Any) -> BaseException | None:
    error: BaseException | None
    error = RuntimeError("it was cancelled") if done.cancelled() else done.exception()
    return error
