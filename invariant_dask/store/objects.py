"""A store in a bucket, or on a shared file system: plain objects, no locks, no database.

`store.objects_names` has the layout. Blobs come first, then the record, then the claim of a planned
digest, each whole or not at all; all but `LAYOUT` and tokens may be written again with the same
bytes, so a lost answer does no harm. Reading believes nothing: bytes that are not what they should
be are read once more before they count as damaged, as the way here may have damaged them.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import tempfile
import threading
import time
from collections.abc import Collection, Hashable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invariant_dask.core.digest import BlobId
from invariant_dask.core.encode import Encoded, encode_keeping
from invariant_dask.errors import (
    IntegrityError,
    StoreLayoutError,
    StoreUnavailableError,
)
from invariant_dask.store import objects_names as names
from invariant_dask.store.backend import Missed
from invariant_dask.store.base import Store, StoreRef
from invariant_dask.store.compression import SUFFIX, check_available
from invariant_dask.store.layout import check_layout_version, describe_layout
from invariant_dask.store.naming import aside_name
from invariant_dask.store.objects_blobs import ObjectBlobs
from invariant_dask.store.objects_client import AT_ONCE, BUDGET, ObjectClient
from invariant_dask.store.objects_keeper import ObjectKeeper
from invariant_dask.store.objects_reading import get_entries
from invariant_dask.store.objects_uploads import SMALL, Uploads
from invariant_dask.store.objects_urls import connect, locate
from invariant_dask.store.objects_wire import PART, ObjectInfo
from invariant_dask.store.record import ENTRY_LIMIT, EntryRow, parse_entry
from invariant_dask.store.spool import Spool
from invariant_dask.store.trust import DEFAULT_TERMS, Terms

if TYPE_CHECKING:
    from typing_extensions import Buffer

logger = logging.getLogger("invariant_dask.store")

_DAY = 86_400


class ObjectStore(Store):
    """Keeps artifacts as objects that many machines may read and write at once.

    Parameters
    ----------
    url
        `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`, `file:///folder` on a
        file system that all workers share, or `memory://name` for this process.
    client
        `"obstore"` or `"fsspec"`: who makes the requests. By default obstore for S3
        and Azure, if it is installed and knows all options.
    timeout
        Seconds that a request may take with all its attempts.
    concurrency
        How many requests are on their way at a time.
    leases
        Whether runs take turns with those of other clusters at making the same artifact.
    terms
        Whose entries are taken, and how large artifacts may be.
    compression
        `"zstd"` compresses blobs of up to 256 MiB where that saves a tenth. Who has the library
        reads them without this option too.
    options
        Credentials, endpoint and the like, as s3fs, gcsfs and adlfs name them: `key`, `secret`,
        `endpoint_url`, `token`, `account_name`, ... By default what the environment says. They
        travel to workers, and are shown nowhere.

    Raises
    ------
    SpecError
        If the URL or an option makes no sense.
    StoreLayoutError
        If the place holds something else, or a store of another layout version.
    StoreUnavailableError
        If it cannot be reached.
    """

    kind = "objects"

    def __init__(
        self,
        url: str,
        *,
        client: str | None = None,
        timeout: float = BUDGET,
        concurrency: int = AT_ONCE,
        leases: bool = False,
        terms: Terms = DEFAULT_TERMS,
        compression: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(terms)
        check_available(compression)
        self.leases = leases
        self._location = locate(url, client, options)
        settings = {
            "client": client, "timeout": timeout, "concurrency": concurrency,
            "leases": leases or None, "compression": compression,
        }  # fmt: skip
        self._options: dict[str, Any] = {
            **{name: value for name, value in settings.items() if value is not None},
            **options,
        }
        self._client = ObjectClient(
            partial(connect, self._location, timeout), self.place,
            budget=timeout, at_once=concurrency,
        )  # fmt: skip
        self._uploads = Uploads(self._start_upload, self.place)
        folder = Path(self._location.prefix) if self._location.scheme == "file" else None
        self._blobs = ObjectBlobs(self._client, compression)
        self._keeper = ObjectKeeper(
            self._client, self._blobs, self._uploads.flush, folder, self._claim_place
        )
        self._own_token = secrets.token_hex(16)
        self._lock = threading.Lock()
        self._token_shown = 0.0
        self._aside: dict[str, str] = {}
        # A worker's is: the client that sent it here looked, and wrote a token.
        self._claimed = True

    @property
    def key(self) -> Hashable:
        """What tells this object from others of the process, options included."""
        return self.place, self._location.client, repr(sorted(self._options.items())), self.terms

    @property
    def url(self) -> str:
        """The URL without options."""
        return self._location.url

    @property
    def place(self) -> str:
        """The URL, and the endpoint if it is not the usual one."""
        return self._location.place

    @property
    def may_damage_on_the_way(self) -> bool:
        """True."""
        return True

    @property
    def is_process_local(self) -> bool:
        """Whether it is in memory."""
        return self._location.scheme == "memory"

    def close(self) -> None:
        self._uploads.flush()
        self._client.close()

    def _after_fork(self) -> None:
        super()._after_fork()
        self._lock = threading.Lock()
        self._uploads.after_fork()
        self._client.after_fork()

    # --- the place ---

    def check_layout(self) -> None:
        """Make sure that this is a store of this layout, or that it can become one.

        Raises
        ------
        StoreLayoutError
            If it is something else.
        """
        data = self._client.get("LAYOUT", 4096)
        if data is not None:
            check_layout_version(self.place, data, names.LAYOUT, "another prefix")
            return
        foreign = self._client.any_name("")
        # A namespace is a store of its own, which may have been there first.
        if foreign.partition("/")[0] == "namespaces":
            foreign = ""
        if foreign and self._client.get("LAYOUT", 4096) is None:
            msg = (
                f"{self.place} holds something else than a store ({foreign}); "
                "name a prefix under which there is nothing"
            )
            raise StoreLayoutError(msg)
        self._claimed = False

    def check_later(self) -> None:
        """Make sure of it before the first request, instead of now."""
        self._client.first.put_off(self.check_layout)

    def make_sure(self) -> None:
        self._client.first.make()

    def _claim_place(self) -> None:
        """Say what this is, before anything else is written."""
        self.make_sure()
        if self._claimed:
            return
        data = describe_layout(names.LAYOUT, by=secrets.token_hex(8)).encode()
        if not self._client.create("LAYOUT", data):
            check_layout_version(
                self.place, self._client.get("LAYOUT", 4096) or b"", names.LAYOUT, "another prefix"
            )
        self._claimed = True

    def _token(self) -> str:
        return self._own_token

    def _show_token(self) -> None:
        # Upkeep removes tokens that look abandoned: one in use is renewed.
        if not self._token_shown or time.time() - self._token_shown > _DAY:
            self._claim_place()
            self._client.put(f"tokens/{self._own_token}", b"seen")
            self._token_shown = time.time()

    def ref(self) -> StoreRef:
        ref = super().ref()
        return replace(ref, options=self._options)

    def sees_token(self, token: str) -> bool:
        """Return whether a client wrote a token here."""
        return self._client.head(f"tokens/{token}") is not None

    # --- entries ---

    def grouping(self) -> AbstractContextManager[None]:
        return self._uploads.open()

    def missed(self) -> Missed | None:
        self._uploads.flush()
        lost, reason = self._uploads.take_losses()
        if lost:
            self.note_unkept(lost.elements(), reason)
        return super().missed()

    def _read_entries(self, digests: Sequence[bytes]) -> dict[bytes, bytes]:
        waiting = self._uploads.entries(digests)
        found = get_entries(self._client, [digest for digest in digests if digest not in waiting])
        doubtful = [digest for digest, data in found.items() if not _is_sound(digest, data)]
        if doubtful:
            again = get_entries(self._client, doubtful)
            for digest in doubtful:
                del found[digest]
            found.update(again)
        return {**found, **waiting} if waiting else found

    def _publish(self, blobs: Mapping[BlobId, Buffer], rows: Sequence[EntryRow]) -> None:
        size = sum(len(row.data) for row in rows)
        size += sum(memoryview(data).nbytes for data in blobs.values())
        self._claim_place()
        if self._uploads.is_open and size <= SMALL:
            self._uploads.add(blobs, rows, size)
            return
        self._uploads.flush()
        self._client.run(self._upload(blobs, rows))

    def _write_entries(self, rows: Sequence[EntryRow]) -> bool:
        self._publish({}, rows)
        return True

    def _write_blobs(self, blobs: Mapping[BlobId, Buffer]) -> None:
        self._publish(blobs, ())

    def _start_upload(self, blobs: Mapping[BlobId, Buffer], rows: Sequence[EntryRow]) -> Any:
        return self._client.start(self._upload(blobs, rows))

    async def _upload(self, blobs: Mapping[BlobId, Buffer], rows: Sequence[EntryRow]) -> None:
        put = self._client.put_one
        for row in rows:
            if len(row.data) > ENTRY_LIMIT:
                msg = f"an entry of {row.op} is longer than {ENTRY_LIMIT} bytes: {len(row.data)}"
                raise StoreUnavailableError(msg)
        views = {blob: memoryview(data).cast("B") for blob, data in blobs.items()}
        marks = asyncio.gather(*(put(mark, b"") for mark in names.marks_of(rows)))
        uploads = (self._blobs.upload(blob, view) for blob, view in views.items())
        _, kept = await asyncio.gather(marks, asyncio.gather(*uploads))
        records = [row for row in rows if row.target is None]
        await asyncio.gather(*(put(names.entry_name(row.digest), row.data) for row in records))
        claims = [row for row in rows if row.target is not None]
        await asyncio.gather(*(put(names.entry_name(row.digest), row.data) for row in claims))
        if records:
            await self._blobs.make_sure_of(views, dict(zip(views, kept, strict=True)))

    def _delete_entries(self, digests: Sequence[bytes]) -> int:
        self._uploads.flush()
        there = self._client.head_many([names.entry_name(digest) for digest in digests])
        self._client.delete_many(there)
        return len(there)

    def _delete_op(self, op: str) -> int:
        self._uploads.flush()
        infos = self._client.list_many([names.op_folder(op)])
        marks = [mark for info in infos if (mark := names.parse_mark(info.name))]
        # Claims first: one without its record is found by nobody.
        removed = self._delete_entries(list({mark.claim for mark in marks if mark.claim}))
        removed += self._delete_entries(list({mark.record for mark in marks if mark.record}))
        self._client.delete_many([info.name for info in infos])
        return removed

    def _recent(self, op: str, limit: int) -> list[tuple[bytes, bytes]]:
        self._uploads.flush()
        most: int | None = 4 * limit
        while True:
            infos = self._client.list_many([names.op_folder(op)], most)
            marks = (names.parse_mark(info.name) for info in infos)
            digests = list(dict.fromkeys(mark.record for mark in marks if mark and mark.record))
            entries = self._first_entries(digests, limit)
            if most is None or len(entries) == limit or len(infos) < most:
                return entries
            most = None  # many were removed, or are claims only

    def _first_entries(self, digests: Sequence[bytes], limit: int) -> list[tuple[bytes, bytes]]:
        entries: list[tuple[bytes, bytes]] = []
        for at in range(0, len(digests), limit):
            part = digests[at : at + limit]
            found = self._read_entries(part)
            entries += [(digest, found[digest]) for digest in part if digest in found]
            if len(entries) >= limit:
                break
        return entries[:limit]

    # --- blobs ---

    def encode(self, value: object) -> Encoded:
        # Large arrays go into a file without a name while they are hashed, and are sent from there.
        return encode_keeping(value, self._keep)

    def _keep(self, view: memoryview) -> tuple[BlobId, memoryview] | None:
        if len(view) <= PART:
            return None
        spool = Spool(Path(tempfile.gettempdir()))
        kept = spool.add(view)
        if kept is not None:
            spool.drop(kept[0])  # the map keeps the bytes
        return kept

    def _read_blob(self, blob: BlobId, length: int) -> Buffer | None:
        waiting = self._uploads.blob(blob)
        if waiting is not None:
            return waiting
        return self._blobs.read(blob, length)

    def _has_blobs(self, blobs: Collection[tuple[BlobId, int]]) -> set[BlobId]:
        there = {blob for blob, _ in blobs if self._uploads.blob(blob) is not None}
        return there | self._blobs.has([part for part in blobs if part[0] not in there])

    def _why_unread(self, blob: BlobId) -> str:
        return self._blobs.why_unread(blob)

    def _length_of_blob(self, blob: BlobId) -> int | None:
        seen = self._blobs.find(blob)
        return None if seen is None else self._blobs.length_of(seen)

    # --- damage ---

    def _quarantine_entry(self, digest: bytes, data: bytes) -> None:
        self._uploads.flush()
        name = names.entry_name(digest)
        seen = self._client.head(name)
        # Else it was replaced, or only damaged on its way here.
        if seen is not None and self._client.get(name, ENTRY_LIMIT + 1) == data:
            self._set_aside(seen, digest, "entry")

    def _quarantine_blob(self, blob: BlobId) -> None:
        self._uploads.flush()
        seen = self._blobs.find(blob)
        if seen is not None:
            self._set_aside(seen, blob, "blob", SUFFIX if names.is_frame(seen.name) else "")

    def _set_aside(self, seen: ObjectInfo, digest: bytes, what: str, suffix: str = "") -> None:
        aside = f"quarantine/{aside_name(digest, what, time.time_ns())}{suffix}"
        self._client.copy(seen.name, aside)
        self._aside[f"{digest.hex()}.{what}"] = aside
        self._client.delete_if(seen)

    def _keep_report(self, name: bytes, what: str, report: Mapping[str, str]) -> None:
        aside = self._aside.pop(f"{name.hex()}.{what}", None)
        if aside is not None:  # else it was replaced by a good one meanwhile
            self._client.put(f"{aside}.json", json.dumps(report, indent=1).encode())

    # --- upkeep ---

    def keeper(self) -> ObjectKeeper:
        return self._keeper


def _is_sound(digest: bytes, data: bytes) -> bool:
    try:
        parse_entry(digest, data)
    except IntegrityError:
        return False
    return True
