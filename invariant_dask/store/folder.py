"""The folder of a `DiskStore`: what makes it one, and how files get into it.

Layout, version 3:

    LAYOUT              JSON: {"layout": 3, "made_by": ...}; written first, so that a folder
                        either says that it is a store or is empty
    index.sqlite        entries (`store.record`) and which blobs they refer to; WAL mode
    blobs/ab/<62 hex>   a blob under its id, never changed; written in tmp/ and renamed
    blobs/ab/<62 hex>.zst
                        the same as a zstd frame: `store.compression`
    tmp/                what is being written
    quarantine/         damaged entries and blobs, for a look, each with a report (JSON) beside it
    namespaces/<name>/  a store of its own, with this layout: see `DiskStore`
    config              JSON: the budget, if one was set (`store.budget`)
    pins/, roots/       what is kept from being collected (`store.notes`)
    leases/             who is making what (`store.leases`)
    ledger/             which runs there were (`ledger.places`); no part of the store
    tokens/<hex>        written by a client; a worker that sees it sees the same folder
    .gitignore          keeps it all out of version control
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

from invariant_dask.errors import StoreLayoutError, StoreUnavailableError
from invariant_dask.store.layout import check_layout_version, describe_layout

LAYOUT = 3

DAY = 86_400
_LITTLE = 1 << 17  # what an index needs to be opened, and to note something

logger = logging.getLogger("invariant_dask.store")


def move(partial: Path, path: Path) -> None:
    """Put a file in its place, whole."""
    try:
        partial.replace(path)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.replace(path)


def write_file(path: Path, view: memoryview) -> None:
    """Write a new file that nobody changes any more."""
    # Read-only even for ourselves: whoever writes into a blob by mistake gets an error.
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)
    try:
        while view:
            view = view[os.write(fd, view[: 1 << 30]) :]
    finally:
        os.close(fd)


def replace_text(path: Path, text: str, tmp: Path) -> None:
    """Write a small file, visible only when whole."""
    partial = tmp / f"LAYOUT.{secrets.token_hex(8)}"
    try:
        partial.write_text(text)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def writing(root: Path) -> Iterator[None]:
    """What the system refuses in this block makes the store in a folder unavailable."""
    try:
        yield
    except OSError as error:
        raise unavailable(root, error) from error


def unavailable(root: Path, error: OSError) -> StoreUnavailableError:
    """Return what to raise when the system refuses something."""
    if isinstance(error, StoreUnavailableError):
        return error
    return StoreUnavailableError(f"store {root} cannot be used: {error}")


def check_layout(root: Path) -> bool:
    """Make sure that a folder is a store of this layout, making it one if it is empty.

    Returns whether it can be written.
    """
    if root.exists() and not root.is_dir():
        msg = f"{root} is a file; a store needs a folder of its own"
        raise StoreLayoutError(msg)
    with writing(root):
        root.mkdir(parents=True, exist_ok=True)
        if not _has_layout(root):
            _claim_folder(root)
        if not os.access(root, os.W_OK | os.X_OK):
            logger.warning("store %s cannot be written here: what it holds is used", root)
            return False
        for name in ("blobs", "tmp", "tokens", "quarantine"):
            (root / name).mkdir(exist_ok=True)
        remove_old(root / "tmp", DAY)
        remove_old(root / "tokens", 7 * DAY)
    return True


def _has_layout(root: Path) -> bool:
    try:
        text = (root / "LAYOUT").read_text()
    except FileNotFoundError:
        return False
    check_layout_version(root, text, LAYOUT, "another folder")
    return True


def _claim_folder(root: Path) -> None:
    # What another process, or one that was killed, wrote on its way to the same is not in the way,
    # and a ledger may have been there before: that of runs whose store is elsewhere.
    foreign = [
        path.name
        for path in root.iterdir()
        if not path.name.startswith("LAYOUT") and path.name != "ledger"
    ]
    if foreign and not _has_layout(root):
        msg = (
            f"{root} holds something else than a store ({', '.join(sorted(foreign)[:3])}); "
            "name a folder that is empty or not there"
        )
        raise StoreLayoutError(msg)
    replace_text(root / "LAYOUT", describe_layout(LAYOUT), root)
    (root / ".gitignore").write_text("*\n")


def want_of_room(root: Path) -> str:
    """Return what the system says when there is no room for a little more; nothing if there is."""
    partial = root / "tmp" / f"room.{secrets.token_hex(8)}"
    try:
        write_file(partial, memoryview(bytes(_LITTLE)))
    except OSError as error:
        return str(error) if error.errno in {errno.ENOSPC, errno.EDQUOT} else ""
    finally:
        partial.unlink(missing_ok=True)
    return ""


def remove_old(folder: Path, seconds: float) -> None:
    limit = time.time() - seconds
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime < limit:
                path.unlink()
