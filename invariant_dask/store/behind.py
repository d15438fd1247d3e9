"""Bring artifacts into a tier in the background: those written behind, and those it missed.

What waits here was written to another tier before, so nothing is lost with it. Entries wait as
bytes, up to a limit; then whoever publishes waits as well. Blobs do not wait here at all: they are
read from the other tiers when their turn comes. What could not be written is kept by name and
digest, and tried again when the tier is back, and at the barrier.
"""

from __future__ import annotations

import atexit
import logging
import multiprocessing.util
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol
from weakref import WeakSet

from invariant_dask.core.digest import BlobId
from invariant_dask.errors import IntegrityError
from invariant_dask.store.backend import Missed
from invariant_dask.store.breaker import Breaker
from invariant_dask.store.record import EntryRow, Record, parse_entry

if TYPE_CHECKING:
    from typing_extensions import Buffer

WAITING_BYTES = 64 * 2**20
"""The most bytes of entries that wait for one tier."""

EXIT_SECONDS = 30.0
"""How long a process that ends waits for what is still on its way."""

_BATCH_ROWS = 512
_BATCH_BYTES = 64 * 2**20
_LINGER = 0.2
_NAMES = 5
_REMEMBERED = 100_000

logger = logging.getLogger("invariant_dask.store")


class Piece(NamedTuple):
    """What was published together: blobs, the record that names them, and perhaps a claim."""

    rows: tuple[EntryRow, ...]
    parts: tuple[tuple[BlobId, int], ...] = ()

    @property
    def key(self) -> bytes:
        """What it is told apart by."""
        return self.rows[0].digest if self.rows else self.parts[0][0]

    @property
    def size(self) -> int:
        """Bytes that wait here."""
        return sum(len(row.data) for row in self.rows) + 200

    @property
    def name(self) -> str:
        """The node that made it, else the op."""
        if not self.rows:
            return "a file"
        try:
            entry = parse_entry(self.rows[0].digest, self.rows[0].data)
            node = entry.about.node if type(entry) is Record else ""
        except IntegrityError:
            node = ""
        return node or self.rows[0].op

    def light(self) -> Piece:
        """Return the same without the bytes, which other tiers have."""
        return Piece(tuple(row._replace(data=b"") for row in self.rows), self.parts)


class Target(Protocol):
    """The tier that is written to."""

    name: str
    writing: Breaker

    def write(self, blobs: dict[BlobId, Buffer], rows: Sequence[EntryRow]) -> str:
        """Write what belongs together; return what came in the way."""


class Source(Protocol):
    """The other tiers."""

    def entries(self, digests: Sequence[bytes]) -> dict[bytes, bytes]: ...

    def blob(self, blob: BlobId, length: int) -> Buffer | None: ...


class Behind:
    """The background writer of one tier.

    Parameters
    ----------
    target
        The tier.
    source
        Where to read what waited without its bytes.
    limit
        The most bytes of entries that wait.
    """

    def __init__(self, target: Target, source: Source, limit: int = WAITING_BYTES) -> None:
        self._target = target
        self._source = source
        self._limit = limit
        self.after_fork()
        _living.add(self)

    def after_fork(self) -> None:
        """Forget what belongs to the parent process: it writes its own."""
        self._changed = threading.Condition(threading.Lock())
        self._queue: deque[Piece] = deque()
        self._bytes = 0
        self._busy = False
        self._thread: threading.Thread | None = None
        self._missed: dict[bytes, tuple[str, Piece]] = {}
        self._uncounted = 0
        self._reason = ""
        self._told: tuple[int, tuple[str, ...]] = 0, ()
        self.is_told = False
        """Whether the last barrier returned nothing but what the one before did."""

    @property
    def waiting(self) -> int:
        """How many pieces are on their way."""
        return len(self._queue)

    @property
    def missing(self) -> int:
        """How many pieces could not be written."""
        return len(self._missed) + self._uncounted

    def add(self, piece: Piece) -> None:
        """Write something soon; wait if too much waits already."""
        if self._target.writing.is_paused:
            self.miss(piece, self._target.writing.reason)
            return
        with self._changed:
            self._put(piece)
            # A target that is left out empties the queue at once: nobody waits for a pause.
            while self._bytes > self._limit and self._thread is not None:
                self._changed.wait()

    def miss(self, piece: Piece, reason: str) -> None:
        """Take note of something that the tier does not have."""
        with self._changed:
            self._reason = reason
            if len(self._missed) < _REMEMBERED:
                self._missed[piece.key] = piece.name, piece.light()
            else:
                self._uncounted += 1

    def catch_up(self) -> None:
        """Try again what could not be written."""
        with self._changed:
            missed, self._missed = self._missed, {}
            for _, piece in missed.values():
                self._put(piece)

    def forget(self, keep: Callable[[EntryRow], bool]) -> None:
        """Let go of entries that are removed on purpose, and wait for what is being written."""
        with self._changed:
            queue, self._queue = self._queue, deque()
            self._bytes = 0
            for piece in queue:
                for left in _without(piece, keep):
                    self._queue.append(left)
                    self._bytes += left.size
            for key, (name, piece) in list(self._missed.items()):
                del self._missed[key]
                for left in _without(piece, keep):
                    self._missed[left.key] = name, left
            while self._busy:
                self._changed.wait()

    def drain(self, until: float | None = None) -> bool:
        """Wait until nothing is on its way; return False if that takes too long."""
        with self._changed:
            while self._queue or self._busy:
                left = None if until is None else until - time.monotonic()
                if left is not None and left <= 0:
                    return False
                self._changed.wait(left)
        return True

    def barrier(self, until: float | None = None) -> Missed | None:
        """Wait, try again what could not be written, and return what still is not."""
        done = self.drain(until)
        if done and self._missed:
            self._target.writing.try_now()
            self.catch_up()
            done = self.drain(until)
        with self._changed:
            left = [name for name, _ in self._missed.values()]
            left += [piece.name for piece in self._queue]
            count, reason = len(left) + self._uncounted, self._reason
            self._uncounted = 0
        if not count:
            return None
        if not done:
            reason = "it was still being written when the time was over"
        names = tuple(dict.fromkeys(left))[:_NAMES]
        told, self._told = self._told, (count, names)
        self.is_told = told == self._told
        return Missed(self._target.name, count, names, reason)

    # --- the thread ---

    def _put(self, piece: Piece) -> None:
        self._queue.append(piece)
        self._bytes += piece.size
        self._changed.notify_all()
        if self._thread is None:
            _flush_at_exit()
            # A daemon: the end of the process waits for it in `_flush_all`, and not for ever.
            thread = threading.Thread(target=self._work, name="invariant-dask-behind", daemon=True)
            self._thread = thread
            try:
                thread.start()
            except RuntimeError:
                self._thread = None
                self._changed.release()
                try:
                    self._work()
                finally:
                    self._changed.acquire()

    def _work(self) -> None:
        while True:
            with self._changed:
                if not self._queue:
                    self._changed.wait(_LINGER)
                if not self._queue:
                    if self._thread is threading.current_thread():
                        self._thread = None
                    return
                batch = self._take()
                self._busy = True
            try:
                self._write(batch)
            except Exception as error:
                logger.exception("%s: %d pieces are not written", self._target.name, len(batch))
                for piece in batch:
                    self.miss(piece, repr(error))
            finally:
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()

    def _take(self) -> list[Piece]:
        batch: list[Piece] = []
        rows = size = 0
        while self._queue and rows < _BATCH_ROWS and size < _BATCH_BYTES:
            piece = self._queue.popleft()
            self._bytes -= piece.size
            batch.append(piece)
            rows += len(piece.rows)
            size += sum(length for _, length in piece.parts)
        return batch

    def _write(self, batch: list[Piece]) -> None:
        whole: list[Piece] = []
        blobs: dict[BlobId, Buffer] = {}
        if self._target.writing.is_paused:
            for piece in batch:
                self.miss(piece, self._target.writing.reason)
            return
        for piece in batch:
            filled = self._filled(piece)
            needed = None if filled is None else self._blobs_of(piece, blobs)
            if filled is None or needed is None:
                self.miss(piece, "no other tier has it any longer")
            else:
                whole.append(filled)
                blobs.update(needed)
        trouble = self._target.write(blobs, [row for piece in whole for row in piece.rows])
        if trouble:
            for piece in whole:
                self.miss(piece, trouble)

    def _filled(self, piece: Piece) -> Piece | None:
        """Return a piece with the bytes of its entries, as far as they still are somewhere."""
        bare = [row.digest for row in piece.rows if not row.data]
        if not bare:
            return piece
        data = self._source.entries(bare)
        if any(digest not in data for digest in bare):
            return None
        return Piece(
            tuple(row if row.data else row._replace(data=data[row.digest]) for row in piece.rows),
            piece.parts,
        )

    def _blobs_of(self, piece: Piece, read: dict[BlobId, Buffer]) -> dict[BlobId, Buffer] | None:
        needed: dict[BlobId, Buffer] = {}
        for blob, length in piece.parts:
            data = read.get(blob)
            if data is None:
                data = self._source.blob(blob, length)
            if data is None:
                return None
            needed[blob] = data
        return needed


def _without(piece: Piece, keep: Callable[[EntryRow], bool]) -> list[Piece]:
    """Return a piece without some of its entries, if anything of it is left."""
    rows = tuple(row for row in piece.rows if keep(row))
    if rows == piece.rows:
        return [piece]
    return [Piece(rows, piece.parts if rows[0] is piece.rows[0] else ())] if rows else []


_living: WeakSet[Behind] = WeakSet()
_flushing_process = 0


def _flush_at_exit() -> None:
    # Worker processes of multiprocessing run only the second; all others run the first, which
    # comes before what was registered earlier, such as the end of connections.
    global _flushing_process  # noqa: PLW0603
    if _flushing_process != os.getpid():
        _flushing_process = os.getpid()
        atexit.register(_flush_all, os.getpid())
        multiprocessing.util.Finalize(None, _flush_all, args=(os.getpid(),), exitpriority=100)


def _flush_all(process: int) -> None:
    global _flushing_process  # noqa: PLW0603
    if process != os.getpid() or _flushing_process != process:
        return
    _flushing_process = 0
    until = time.monotonic() + EXIT_SECONDS
    for behind in list(_living):
        missed = behind.barrier(until)
        if missed is not None:
            logger.log(logging.INFO if behind.is_told else logging.WARNING, "%s", missed)
