"""Read from an object store: many entries, large blobs in parts, and all names there are."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING

from invariant_dask.errors import StoreUnavailableError
from invariant_dask.store import objects_names as names
from invariant_dask.store.objects_client import ObjectClient
from invariant_dask.store.record import ENTRY_LIMIT
from invariant_dask.store.spool import map_file

if TYPE_CHECKING:
    from typing_extensions import Buffer

logger = logging.getLogger("invariant_dask.store")

SHARD_SAMPLE = 5000
"""How many objects are listed to guess how many there are."""

_SAMPLE = 512


def get_entries(client: ObjectClient, digests: Sequence[bytes]) -> dict[bytes, bytes]:
    """Return the entries that are there, by probing for them or by listing, whatever is cheaper."""
    if len(digests) <= 2 * _SAMPLE:
        return _probe(client, digests)
    # Whatever is there must be read one by one. What is not may be cheaper to see in lists.
    found = _probe(client, digests[:_SAMPLE])
    rest = digests[_SAMPLE:]
    missing = 1 - len(found) / _SAMPLE
    if missing and names.worth_listing(len(rest), missing, 0):
        shard = f"entries/{names.SHARDS[rest[0][0]]}"
        seen = len(client.list_many([shard], most=SHARD_SAMPLE))
        if names.worth_listing(len(rest), missing, seen * len(names.SHARDS)):
            shards = {names.SHARDS[digest[0]] for digest in rest}
            there = client.list_many([f"entries/{shard}" for shard in sorted(shards)])
            stored = {names.digest_of(info.name) for info in there}
            rest = [digest for digest in rest if digest in stored]
    return {**found, **_probe(client, rest)}


def _probe(client: ObjectClient, digests: Sequence[bytes]) -> dict[bytes, bytes]:
    wanted = {names.entry_name(digest): digest for digest in digests}
    found = client.get_many(wanted, ENTRY_LIMIT + 1)
    return {wanted[name]: data for name, data in found.items()}


def read_large(client: ObjectClient, name: str, length: int) -> Buffer | None:
    """Return the content of an object that should be so long, or None if it is not there.

    It goes into a file without a name, which is mapped; into memory where there is no room for one.
    """
    there = client.head(name)
    if there is None or there.size != length:
        return None
    try:
        return _read_to_file(client, name, length)
    except OSError as error:
        if isinstance(error, StoreUnavailableError):
            raise
        logger.info("%s is read into memory: %s", name, error)
    data = bytearray(length)

    def keep(start: int, part: bytes) -> None:
        data[start : start + len(part)] = part

    return memoryview(data).toreadonly() if client.read_parts(name, length, keep) else None


def _read_to_file(client: ObjectClient, name: str, length: int) -> Buffer | None:
    with tempfile.TemporaryFile(prefix="invariant-dask-") as file:
        fd = file.fileno()
        os.ftruncate(fd, length)
        if not client.read_parts(name, length, lambda at, part: os.pwrite(fd, part, at)):
            return None
        return map_file(fd, length)
