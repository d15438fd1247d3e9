"""What keeps artifacts from being collected: pins, and the roots of runs that rely on them.

    pins/<hex of a digest>   JSON: who pinned it, and why
    roots/<id of a run>      a line of text, then digests of 32 bytes each

A run renews its root while it lives. One that is older than `EXPIRES` protects nothing any more;
for `KEPT` it still tells when its artifacts were last used, where a store does not note that.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from invariant_dask.core.digest import DIGEST_SIZE
from invariant_dask.errors import (
    ArtifactNotFoundError,
    IntegrityError,
    SpecError,
    StoreUnavailableError,
)
from invariant_dask.store.base import Store
from invariant_dask.store.heartbeat import HEART, Heart
from invariant_dask.store.keeper import NOTE_LIMIT, Keeper
from invariant_dask.store.naming import parse_digest
from invariant_dask.store.record import Found, PlannedEntry, Record, parse_entry
from invariant_dask.store.sizes import DAY, MINUTE

EXPIRES = 10 * MINUTE
KEPT = 30 * DAY

_PINS, _ROOTS = "pins", "roots"
_HEAD = b"invariant-dask root 1\n"
_MOST = (NOTE_LIMIT - len(_HEAD)) // DIGEST_SIZE

logger = logging.getLogger("invariant_dask.store")


def keeper_of(store: Store) -> Keeper:
    """Return who looks after a store, all of which is written by now.

    Raises
    ------
    SpecError
        If it is of a kind that needs no looking after.
    """
    keeper = store.keeper()
    if keeper is None:
        msg = f"{store.url} is no store in a folder or bucket: there is nothing to look after"
        raise SpecError(msg)
    # What this process has published is seen; not where a writer makes room, as it writes just now.
    keeper.settle()
    return keeper


def sound_entries(store: Store, rows: Mapping[bytes, bytes]) -> dict[bytes, Record | PlannedEntry]:
    """Return the entries that are undamaged, whoever is trusted; the others are set aside."""
    entries = {}
    for digest, data in rows.items():
        try:
            entries[digest] = parse_entry(digest, data)
        except IntegrityError as error:
            store._set_entry_aside(digest, data, error)  # noqa: SLF001
    return entries


class Pin(NamedTuple):
    """A digest that is kept whatever happens."""

    digest: bytes
    by: str
    reason: str
    since: int


def pin(store: Store, digest: bytes | str, *, by: str = "", reason: str = "") -> None:
    """Keep the artifact of a planned or resolved digest, with its blobs, until it is unpinned.

    Pinning again without a reason leaves the one that is there.

    Raises
    ------
    ArtifactNotFoundError
        If nothing is stored there.
    """
    keeper, raw = keeper_of(store), parse_digest(digest)
    before = keeper.read_note(_PINS, raw.hex())
    told = {} if before is None or reason else _told(before.data)
    if not told.get("reason"):
        told = {"by": by, "reason": reason}
    keeper.write_note(_PINS, raw.hex(), json.dumps(told).encode())
    # A collector that has not seen the pin must not find the record as it was. Looked up
    # afterwards: perhaps it was removed by then.
    found = store.lookup([raw]).get(raw)
    if found is not None:
        keeper.renew([found.record.resolved])
    if found is None or not store.exists(raw):
        unpin(store, raw)
        raise ArtifactNotFoundError(digest=raw.hex(), store=store.url)


def unpin(store: Store, digest: bytes | str) -> bool:
    """Pin a digest no longer; return whether it was pinned."""
    keeper, raw = keeper_of(store), parse_digest(digest)
    note = keeper.read_note(_PINS, raw.hex())
    return note is not None and keeper.remove_note(_PINS, note)


def pins(store: Store) -> list[Pin]:
    """Return all pins."""
    return pins_of(keeper_of(store))


def pins_of(keeper: Keeper) -> list[Pin]:
    """Return all pins of a place; what was pinned by hand, as an empty file, counts too."""
    found = []
    for note in keeper.notes(_PINS):
        try:
            digest = bytes.fromhex(note.name)
        except ValueError:
            continue
        told = _told(note.data)
        if len(digest) == DIGEST_SIZE:
            by, reason = str(told.get("by", "")), str(told.get("reason", ""))
            found.append(Pin(digest, by, reason, note.written))
    return found


def _told(data: bytes) -> dict[str, object]:
    try:
        told = json.loads(data)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


class Root:
    """What one run relies on, kept from being collected while it lives.

    Parameters
    ----------
    store
        Where it is kept; without a keeper, and where nothing can be written, nothing is done.
    run
        Id of the run.
    heart
        Who renews it.
    """

    def __init__(self, store: Store, run: str, heart: Heart = HEART) -> None:
        self._store = store
        self._run = run
        self._heart = heart
        self._held: frozenset[bytes] = frozenset()
        self._number = 0

    def hold(self, found: Iterable[Found]) -> None:
        """Protect stored artifacts, beside those that are protected already."""
        digests = {bytes(each.record.resolved) for each in found}
        keeper = self._store.keeper()
        if keeper is None or keeper.is_read_only or digests <= self._held:
            return
        if len(digests | self._held) > _MOST:
            logger.warning("a run relies on too many artifacts to name; they may be collected")
            return
        self._held |= digests
        if not self._number:
            self._number = self._heart.add(self.beat)
        try:
            self.beat()
        except StoreUnavailableError as error:
            # Losing what is reused costs time; failing now would cost more. The heart tries again.
            logger.info("%s: what a run relies on is not noted: %s", self._store.url, error)

    def beat(self) -> None:
        """Renew it."""
        keeper = self._store.keeper()
        if keeper is not None:
            keeper.write_note(_ROOTS, self._run, _HEAD + b"".join(sorted(self._held)))

    def release(self) -> None:
        """Renew it no more: the run is over, or what it relied on is used up."""
        if not self._number:
            return
        self._heart.remove(self._number)
        self._number = 0
        keeper = self._store.keeper()
        if keeper is None or not keeper.notes_use:
            return  # it goes on telling when all this was used
        try:
            keeper.drop_note(_ROOTS, self._run)
        except StoreUnavailableError as error:
            logger.info("%s: a run that is over is still noted: %s", self._store.url, error)


class Roots(NamedTuple):
    """What all runs say together."""

    live: frozenset[bytes]
    """What runs rely on now."""
    used: dict[bytes, int]
    """When runs relied on what, as far as is known."""
    runs: int
    """How many runs there are."""


def read_roots(keeper: Keeper, now: int) -> Roots:
    """Return what the runs of a store rely on."""
    live: set[bytes] = set()
    used: dict[bytes, int] = {}
    runs = 0
    for note in keeper.notes(_ROOTS):
        if not note.data.startswith(_HEAD):
            continue
        body = note.data[len(_HEAD) :]
        digests = [body[at : at + DIGEST_SIZE] for at in range(0, len(body), DIGEST_SIZE)]
        for digest in digests:
            used[digest] = max(note.written, used.get(digest, 0))
        if now - note.written < EXPIRES:
            runs += 1
            live.update(digests)
    return Roots(frozenset(live), used, runs)


def remove_old_roots(keeper: Keeper, now: int, kept: int = KEPT) -> None:
    """Remove the roots of runs that ended long ago."""
    for note in keeper.notes(_ROOTS):
        if now - note.written >= kept:
            keeper.remove_note(_ROOTS, note)


def is_held(digests: Collection[bytes], roots: Roots) -> bool:
    """Return whether any run relies on any of these."""
    return not roots.live.isdisjoint(digests)
