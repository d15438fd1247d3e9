"""What was removed to make room, for those who ask later why something runs again.

    evicted/<time>   a line of text, then digests of 32 bytes each

A few notes of bounded length: what was removed longer ago counts as never seen.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from datetime import UTC, datetime

from invariant_dask.core.digest import DIGEST_SIZE
from invariant_dask.errors import StoreUnavailableError
from invariant_dask.store.base import Store
from invariant_dask.store.keeper import Keeper

_FOLDER = "evicted"
_HEAD = b"invariant-dask evicted 1\n"
_NOTES = 8
_DIGESTS = 1 << 16

logger = logging.getLogger("invariant_dask.store")


def note_evictions(store: Store, keeper: Keeper, digests: Collection[bytes]) -> None:
    """Note what was removed; where that cannot be written, reasons are less exact."""
    latest = list(digests)[-_DIGESTS:]
    try:
        keeper.write_note(_FOLDER, f"{keeper.now():020d}", _HEAD + b"".join(latest))
        notes = sorted(keeper.notes(_FOLDER), key=lambda note: note.name)
        for note in notes[:-_NOTES]:
            keeper.remove_note(_FOLDER, note)
    except StoreUnavailableError as error:
        logger.info("%s: what was removed is not noted: %s", store.url, error)


def evictions(store: Store) -> dict[bytes, str]:
    """Return what was removed lately to make room, by digest, in words.

    Where that cannot be read, reasons are less exact.
    """
    try:
        keeper = store.keeper()
        notes = [] if keeper is None else keeper.notes(_FOLDER)
    except StoreUnavailableError as error:
        logger.info("%s: what was removed cannot be read: %s", store.url, error)
        return {}
    found: dict[bytes, str] = {}
    for note in sorted(notes, key=lambda note: note.name)[-_NOTES:]:
        if not note.data.startswith(_HEAD):
            continue
        when = datetime.fromtimestamp(note.written // 10**9, UTC).isoformat()
        body = note.data[len(_HEAD) : len(_HEAD) + _DIGESTS * DIGEST_SIZE]
        told = f"evicted: removed {when} to make room in the store"
        found.update((body[at : at + DIGEST_SIZE], told) for at in range(0, len(body), DIGEST_SIZE))
    return found
