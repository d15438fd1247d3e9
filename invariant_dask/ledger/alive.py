"""Whether a run is still recorded: a lock that ends with the process that holds it.

It is a lock of the whole file (flock), so the system takes it back however the process ends, and
nobody has to beat a drum. Where a file system knows no such locks, nobody can tell, and a run
without an end counts as running.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from pathlib import Path

from invariant_dask.errors import LedgerUnavailableError

_UNSUPPORTED = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
_PATIENCE = 2.0


class RunLock:
    """Held while a run is recorded.

    Raises
    ------
    LedgerUnavailableError
        If another process records a run of this id, or the file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise _unavailable(path, error) from error
        try:
            _lock(self._fd)
        except OSError as error:
            os.close(self._fd)
            if isinstance(error, BlockingIOError):
                msg = f"{path} is locked: another process records this run"
                raise LedgerUnavailableError(msg) from error
            raise _unavailable(path, error) from error

    def release(self) -> None:
        """Let go of the lock, and remove its file."""
        with contextlib.suppress(OSError):  # one that nobody holds says the same
            self.path.unlink()
        os.close(self._fd)


def _lock(fd: int) -> None:
    # Somebody who looks whether it is held holds it for a moment.
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.001)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            return
        else:
            return


def is_held(path: Path) -> bool:
    """Whether a process holds the lock of a run."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise _unavailable(path, error) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise _unavailable(path, error) from error
        return True
    else:
        return False
    finally:
        os.close(fd)


def _unavailable(path: Path, error: OSError) -> LedgerUnavailableError:
    return LedgerUnavailableError(f"{path} cannot be used: {error}")
