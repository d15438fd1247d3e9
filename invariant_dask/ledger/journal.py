"""The journal of a run: a file of events, one JSON object a line, to which is only added.

A process that is killed leaves at most half a line at the end. Readers pass over it, and whoever
goes on writing cuts it off first. A full disk leaves whole lines too. The file is read line by
line, however large it is or whatever it holds.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from invariant_dask.errors import EventError, LedgerUnavailableError, NewerEventsError
from invariant_dask.ledger.coding import from_json, to_json
from invariant_dask.ledger.events import Event

LINE_LIMIT = 4 << 20
"""The most bytes of a line: some hundred thousand ids of outputs or inputs."""

_CHUNK = 1 << 16
_to_text = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
_DAMAGE_LIMIT = 20


class Journal:
    """Writes the events of a run to a file, which is made when the first ones come.

    Parameters
    ----------
    path
        The file. One process writes it.
    prepare
        Called before the file is made.
    """

    def __init__(self, path: Path, prepare: Callable[[], object] | None = None) -> None:
        self.path = path
        self._prepare = prepare
        self._fd: int | None = None
        self._size = 0

    def write(self, events: Sequence[Event]) -> None:
        """Add events.

        Raises
        ------
        LedgerUnavailableError
            If the system refuses; none of these events is in the file then.
        """
        data = b"".join(map(line_of, events))
        if data:
            with _refusals(self.path, "written"):
                self._append(data)

    def close(self) -> None:
        """Make sure that what was written survives a power cut, and close the file."""
        fd, self._fd = self._fd, None
        if fd is not None:
            with _refusals(self.path, "written"):
                try:
                    os.fsync(fd)
                finally:
                    os.close(fd)

    def _append(self, data: bytes) -> None:
        if self._fd is None:
            if self._prepare is not None:
                self._prepare()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._fd, self._size = _open_at_end(self.path)
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError:
            # What went in of it would run into what the next write adds. Whoever drops a journal
            # that failed need not close it.
            fd, self._fd = self._fd, None
            with contextlib.suppress(OSError):
                os.ftruncate(fd, self._size)
            os.close(fd)
            raise
        self._size += len(data)


def _open_at_end(path: Path) -> tuple[int, int]:
    """Open a journal to add to it, without half a line at its end; return it and its size."""
    fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        size = os.fstat(fd).st_size
        whole = _end_of_lines(fd, size)
        if whole < size:
            _cut_off(fd, path, whole, size - whole)
    except BaseException:
        os.close(fd)
        raise
    return fd, whole


def _cut_off(fd: int, path: Path, whole: int, torn: int) -> None:
    if torn > LINE_LIMIT:
        raise EventError(f"{path} is no journal: its last line has {torn} bytes or more")
    os.ftruncate(fd, whole)


def _end_of_lines(fd: int, size: int) -> int:
    """Return where the last whole line ends; of what is no journal, some place far before."""
    end = size
    while end > 0 and size - end <= LINE_LIMIT:
        start = max(0, end - _CHUNK)
        at = os.pread(fd, end - start, start).rfind(b"\n")
        if at >= 0:
            return start + at + 1
        end = start
    return end


def line_of(event: Event) -> bytes:
    """Return an event as a line, without the end of its lists if it would be too long."""
    line = _line(event)
    while len(line) > LINE_LIMIT:
        halves = {
            name: value[: len(value) // 2]
            for name in to_json(event)
            if isinstance(value := getattr(event, name), tuple)
        }
        if not halves:
            raise EventError(f"an event {event.event} of {len(line)} bytes does not fit a journal")
        event = replace(event, **halves)  # type: ignore[arg-type]  # the same fields as before
        line = _line(event)
    return line


def _line(event: Event) -> bytes:
    # ASCII: what is no valid Unicode goes through as well, and no reader sees other line ends.
    return _to_text(to_json(event)).encode("ascii") + b"\n"


def read_journal(path: Path, damage: Callable[[str], object] | None = None) -> Iterator[Event]:
    """Yield the events of a journal; half a line at its end is passed over.

    Parameters
    ----------
    path
        The file; it may be written meanwhile.
    damage
        Told of lines that are no events, of the first ones each, and reading goes on; by default
        they are errors.

    Raises
    ------
    EventError
        At a line that is no event, with file and line, unless `damage` is given.
    NewerEventsError
        If a newer version wrote events that this one would misread.
    LedgerUnavailableError
        If the file cannot be read.
    """
    with _refusals(path, "read"):
        if not path.is_file():
            raise FileNotFoundError(f"there is no journal {path}")
        file = path.open("rb", buffering=_CHUNK)
    found = 0
    with file:
        for number, line in enumerate(_lines(file, path), 1):
            try:
                event = _parse(line)
            except NewerEventsError:
                raise
            except EventError as error:
                message = f"{path}:{number}: {error}"
                if damage is None:
                    raise EventError(message) from error
                found += 1
                if found <= _DAMAGE_LIMIT:
                    damage(message)
            else:
                if event is not None:
                    yield event
    if damage is not None and found > _DAMAGE_LIMIT:
        damage(f"{path}: {found - _DAMAGE_LIMIT} more lines are no events")


def _lines(file: BinaryIO, path: Path) -> Iterator[bytes]:
    """Yield whole lines; of one that is too long, its beginning."""
    while True:
        with _refusals(path, "read"):
            line = file.readline(LINE_LIMIT + 1)
            long = len(line) > LINE_LIMIT and not line.endswith(b"\n")
            rest = line
            while long and rest and not rest.endswith(b"\n"):
                rest = file.readline(_CHUNK)
        if not line.endswith(b"\n") and not long:
            return
        yield line


def _parse(line: bytes) -> Event | None:
    if len(line) > LINE_LIMIT:
        raise EventError(f"the line has more than {LINE_LIMIT} bytes")
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, or lists in lists in ...
        reason = str(error).partition("\n")[0]
        raise EventError(f"the line is not JSON: {reason:.100}") from error
    return from_json(data)


@contextlib.contextmanager
def _refusals(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise LedgerUnavailableError(f"there is no journal {path}") from error
    except OSError as error:
        if isinstance(error, LedgerUnavailableError):
            raise
        msg = f"journal {path} cannot be {what}: {error.strerror or error}"
        raise LedgerUnavailableError(msg) from error
