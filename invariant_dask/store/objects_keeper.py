"""Looking after a store of objects: lists and notes are requests, times are the server's.

What an entry is about takes reading it, so all are read, many at a time. An object that was written
again with the same bytes is told by its time; between looking and removing is a moment in which
that may happen unseen. Whoever looks up a record whose blob went then makes it anew.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from invariant_dask.core.digest import BlobId
from invariant_dask.errors import IntegrityError
from invariant_dask.store import objects_names as names
from invariant_dask.store.keeper import NOTE_LIMIT, Keeper, Note, SeenAside, SeenBlob, SeenEntry
from invariant_dask.store.naming import parse_aside
from invariant_dask.store.objects_blobs import ObjectBlobs
from invariant_dask.store.objects_client import ObjectClient
from invariant_dask.store.objects_wire import ObjectInfo
from invariant_dask.store.record import ENTRY_LIMIT, Record, parse_entry
from invariant_dask.store.sizes import DAY, HOUR, SECOND

_SHARDS = 16
_FEW = 16
_AT_ONCE = 512
_READS = 4
_ABANDONED = 7 * DAY
_QUARANTINE_LIMIT = 100
_NEVER = 1 << 62


class ObjectKeeper(Keeper):
    """Looks after the objects of one place.

    Parameters
    ----------
    client
        Makes the requests.
    blobs
        The blobs of the place.
    flush
        Waits until what this process writes has arrived.
    folder
        Where the objects are files, if they are.
    claim
        Says that the place is a store, before anything is written there.
    """

    grace = 12 * HOUR
    # Writers do not send what is there and younger than six hours, and may take their time.
    blob_grace = 8 * HOUR

    def __init__(
        self,
        client: ObjectClient,
        blobs: ObjectBlobs,
        flush: Callable[[], None],
        folder: Path | None = None,
        claim: Callable[[], None] = lambda: None,
    ) -> None:
        self._client = client
        self._blobs = blobs
        self._flush = flush
        self._folder = folder
        self._claim = claim
        self.clock: Callable[[], int] = lambda: int(client.server_time() * SECOND)

    def now(self) -> int:
        return self.clock()

    def settle(self) -> None:
        self._flush()

    # --- entries and blobs ---

    def entries(self) -> Iterator[SeenEntry]:
        for infos in self._scan("entries"):
            for at in range(0, len(infos), _AT_ONCE):
                yield from self._read(infos[at : at + _AT_ONCE])

    def _read(self, infos: Sequence[ObjectInfo]) -> Iterator[SeenEntry]:
        """Yield what some entries are; what does not arrive whole is read again."""
        todo = {info.name: info for info in infos}
        for attempt in range(_READS):
            data = self._client.get_many(todo, ENTRY_LIMIT + 1)
            unread = {}
            for name, info in todo.items():
                if name not in data:
                    continue  # it went meanwhile
                seen = _entry(info, data[name])
                if seen.damaged and attempt < _READS - 1:
                    unread[name] = info
                else:
                    yield seen
            todo = unread

    def blobs(self) -> Iterator[SeenBlob]:
        for infos in self._scan("blobs"):
            forms: defaultdict[bytes, list[ObjectInfo]] = defaultdict(list)
            for info in infos:
                digest = names.digest_of(info.name)
                if digest is not None:
                    forms[digest].append(info)
            for digest, found in forms.items():
                size, written = sum(info.size for info in found), max(map(_time, found))
                yield SeenBlob(BlobId(digest), size, written, tuple(found))

    def is_there(self, blob: BlobId) -> bool:
        forms = [names.blob_name(blob), names.frame_name(blob)]
        return bool(self._client.head_many(forms))

    def claims_on(self, record: bytes, op: str) -> list[bytes]:
        infos = self._client.list_many([names.op_folder(op)])
        marks = filter(None, (names.parse_mark(info.name) for info in infos))
        return [mark.claim for mark in marks if mark.record in {record, None} and mark.claim]

    def _scan(self, folder: str) -> Iterator[list[ObjectInfo]]:
        # Digests are spread evenly: where one part has few, one list of all takes few requests.
        few = self._client.list_many([f"{folder}/{names.SHARDS[0]}"], _FEW)
        if len(few) < _FEW:
            infos = self._client.list_many([folder])
            yield [info for info in infos if names.digest_of(info.name) is not None]
            return
        for at in range(0, len(names.SHARDS), _SHARDS):
            shards = [f"{folder}/{shard}" for shard in names.SHARDS[at : at + _SHARDS]]
            yield [
                info
                for info in self._client.list_many(shards)
                if names.digest_of(info.name) is not None
            ]

    def renew(self, digests: Sequence[bytes]) -> None:
        for name, data in self._client.get_many(
            [names.entry_name(digest) for digest in digests], ENTRY_LIMIT + 1
        ).items():
            self._client.put(name, data)

    def remove_entries(self, seen: Sequence[SeenEntry]) -> list[SeenEntry]:
        infos = {entry.mark: entry for entry in seen if isinstance(entry.mark, ObjectInfo)}
        return [infos[info] for info in self._client.delete_many_if(list(infos))]

    def remove_blobs(self, seen: Sequence[SeenBlob]) -> list[SeenBlob]:
        gone = set(self._client.delete_many_if([info for each in seen for info in _forms(each)]))
        return [each for each in seen if gone.issuperset(_forms(each))]

    def length_of(self, seen: SeenBlob) -> int:
        lengths = {names.is_frame(i.name): self._blobs.length_of(i) for i in _forms(seen)}
        return lengths.get(False) or lengths.get(True) or seen.size

    def tidy(self, alive: Collection[bytes], before: int) -> None:
        old = []
        for info in self._client.list_many(["ops"]):
            mark = names.parse_mark(info.name)
            if mark is not None and _time(info) < before:
                named = {digest for digest in (mark.record, mark.claim) if digest}
                if named.isdisjoint(alive):
                    old.append(info.name)
        abandoned = self.now() - _ABANDONED
        left = self._client.list_many(["tokens", "leases"])
        old += [info.name for info in left if _time(info) < abandoned]
        aside = sorted(info.name for info in self._client.list_many(["quarantine"]))
        old += aside[: max(0, len(aside) - _QUARANTINE_LIMIT)]
        self._client.delete_many(old)

    def aside(self) -> list[SeenAside]:
        infos = {info.name: info for info in self._client.list_many(["quarantine"])}
        found = []
        for name, info in infos.items():
            named = parse_aside(name.removeprefix("quarantine/"))
            if named is not None:
                report = infos.get(f"{name}.json")
                size = info.size + (0 if report is None else report.size)
                found.append(SeenAside(named[1], named[2], size, _time(info), name))
        return found

    def remove_aside(self, seen: Sequence[SeenAside]) -> None:
        gone = [str(each.mark) for each in seen]
        self._client.delete_many([*gone, *(f"{name}.json" for name in gone)])

    def path_of(self, blob: BlobId) -> Path | None:
        if self._folder is None:
            return None
        path, frame = self._folder / names.blob_name(blob), self._folder / names.frame_name(blob)
        return path if path.exists() or not frame.exists() else frame

    # --- notes ---

    def notes(self, folder: str) -> list[Note]:
        infos = {info.name: info for info in self._client.list_many([folder])}
        found = self._client.get_many(infos, NOTE_LIMIT)
        return [
            Note(name.removeprefix(f"{folder}/"), data, _time(infos[name]), infos[name])
            for name, data in found.items()
        ]

    def read_note(self, folder: str, name: str) -> Note | None:
        path = _path(folder, name)
        info = self._client.head(path)
        data = None if info is None else self._client.get(path, NOTE_LIMIT)
        return None if info is None or data is None else Note(name, data, _time(info), info)

    def write_note(self, folder: str, name: str, data: bytes) -> None:
        self._claim()
        self._client.put(_path(folder, name), data)

    def create_note(self, folder: str, name: str, data: bytes) -> bool:
        self._claim()
        return self._client.create(_path(folder, name), data)

    def drop_note(self, folder: str, name: str) -> None:
        self._client.delete_many([_path(folder, name)])

    def remove_note(self, folder: str, note: Note) -> bool:
        assert isinstance(note.mark, ObjectInfo), folder
        return self._client.delete_if(note.mark)


def _entry(info: ObjectInfo, data: bytes) -> SeenEntry:
    digest = names.digest_of(info.name)
    assert digest is not None
    when = _time(info)
    try:
        entry = parse_entry(digest, data)
        if isinstance(entry, Record):
            about = entry.about
            blobs = tuple(blob for blob, _ in entry.parts)
            return SeenEntry(
                digest, info.size, about.op, None, about.created, when, blobs, mark=info,
                signed=bool(entry.signature),
            )  # fmt: skip
    except IntegrityError:
        return SeenEntry(digest, info.size, "", None, when, when, damaged=True, mark=info)
    return SeenEntry(
        digest, info.size, "", entry.resolved, entry.created, when, mark=info,
        signed=bool(entry.signature),
    )  # fmt: skip


def _forms(seen: SeenBlob) -> tuple[ObjectInfo, ...]:
    """Return the objects that hold a blob: the raw one, a frame, or both."""
    assert isinstance(seen.mark, tuple), seen
    return seen.mark


def _time(info: ObjectInfo) -> int:
    # What has no time is never old: nobody can say that it is.
    return int(info.modified * SECOND) if info.modified > 0 else _NEVER


def _path(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
