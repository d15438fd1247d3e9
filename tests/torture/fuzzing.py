"""Feed hostile things to stores in a process of its own, and say what went wrong.

    python -m torture.fuzzing SEED CASES FOLDER

A case may take so much processor time and so much address space more, and no code: what imports,
compiles, opens or starts anything is heard by an audit hook, which cannot be taken back. Prints the
outcomes as JSON; a process that dies says in `FOLDER/case` at which case.
"""

from __future__ import annotations

import json
import logging
import resource
import signal
import sys
import traceback
import warnings
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from torture.forging import PLANNED, Forger, Hostile, blobs_of, samples

from invariant_dask.core.encode import encode, hash_of_identity
from invariant_dask.errors import ArtifactNotFoundError, IntegrityError, UnknownTypeError
from invariant_dask.store import DiskStore, MemoryStore, Store, open_store
from invariant_dask.store.compression import compress, decompress
from invariant_dask.store.record import EntryRow, PlannedEntry, Record, parse_entry

CASE_SECONDS = 10
CASE_BYTES = 256 << 20
RUNS_CODE = (
    "import", "exec", "compile", "open", "os.", "subprocess.", "pickle.", "marshal.load",
    "ctypes.", "socket.connect", "shutil.", "webbrowser.", "pty.", "urllib.",
)  # fmt: skip


class Guard:
    """Hears of everything that a case does besides computing."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)
        self.heard: list[str] = []
        self.on = False
        sys.addaudithook(self.hear)

    def hear(self, event: str, args: tuple[Any, ...]) -> None:
        if self.on and event.startswith(RUNS_CODE) and not self.is_of_the_store(event, args):
            self.heard.append(f"{event} {str(args)[:200]}")

    def is_of_the_store(self, event: str, args: tuple[Any, ...]) -> bool:
        if event == "import":
            return str(args[0]).startswith("tzdata")  # time zones, by their names
        if event in {"compile", "exec"}:
            return False
        if event == "open" and type(args[0]) is int:
            return True  # as a file object, what was opened before
        names = [str(arg) for arg in args[:2]]
        return any(self.folder in name or "zoneinfo" in name or "tzdata" in name for name in names)


def put(store: Store, hostile: Hostile) -> None:
    """Write it below the store, as somebody with access to the place could."""
    store._write_blobs(hostile.blobs)
    rows = [EntryRow(hostile.digest, hostile.data, "hostile:op", 1, None, tuple(hostile.blobs))]
    if hostile.claim:
        rows.append(EntryRow(PLANNED, hostile.claim, "hostile:op", 1, hostile.digest))
    store._write_entries(rows)


def outcome(store: Store, hostile: Hostile) -> str:
    """Return how it was refused, or `right`; raise if it is wrong or fails in another way."""
    for digest, data in ((hostile.digest, hostile.data), (PLANNED, hostile.claim)):
        try:
            entry = parse_entry(digest, data)
        except IntegrityError:
            continue
        if isinstance(entry, Record):
            assert entry.resolved == digest
        elif isinstance(entry, PlannedEntry):
            assert entry.planned == digest
            assert len(entry.inputs) == len(entry.joined) // 64
    seen = "absent"
    for digest, found in store.lookup([hostile.digest, PLANNED]).items():
        try:
            value = store.get(digest)
        except ArtifactNotFoundError as error:
            if is_out_of_memory(error):
                raise
            seen = "lost"
        except UnknownTypeError:
            seen = "unknown type"
        else:
            assert is_named_by(value, found.record), "a value that its record does not name"
            seen = "right"
    return seen


def is_named_by(value: Any, record: Record) -> bool:
    """Whether a record's hash is that of a value, or at least of the one form it is stored in."""
    encoded = encode(value)
    if encoded.hash == record.hash:
        return True
    return hash_of_identity(encoded.storage) == record.hash and encoded.size == record.size


def is_out_of_memory(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, MemoryError):
            return True
        error = error.__cause__ or error.__context__
    return False


def frames(forger: Forger) -> str:
    """A mutated zstd frame gives the declared length or nothing."""
    sample = forger.rng.choice(forger.samples)
    content = forger.rng.choice([sample.encoded.storage, *blobs_of(sample.encoded).values()])
    frame = compress(content * 3)
    if frame is None:
        return "not compressed"
    bad = forger.mutated(frame)
    length = forger.rng.choice([3 * len(content), 3 * len(content) + 1, 0, 2**40])
    try:
        back = decompress(bad, length)
    except IntegrityError:
        return "frame refused"
    assert len(back) == length
    return "frame right"


def limit_memory() -> None:
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + CASE_BYTES, resource.RLIM_INFINITY))


def main() -> None:
    seed, cases, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    forger = Forger(seed, samples())
    stores = [
        MemoryStore("lru", max_bytes=64 << 20),
        DiskStore(folder / "disk", size_limit="64MB"),
        open_store((folder / "files").as_uri()),
    ]
    # Once by good ones: what is loaded when it is first needed is loaded.
    decompress(compress(bytes(4096)) or b"", 4096)
    with suppress(ZoneInfoNotFoundError):
        ZoneInfo("No/Such_Zone")
    for store in stores:
        for sample in forger.samples:
            record, blobs = sample.record, blobs_of(sample.encoded)
            good = Hostile("good", record.resolved, record.to_bytes(), sample.claim, blobs)
            put(store, good)
            assert outcome(store, good) == "right"
    progress = (folder / "case").open("w")
    guard = Guard(folder)
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    for number in range(cases):
        limit_memory()
        progress.seek(0)
        progress.write(f"{number}\n")
        progress.flush()
        hostile = forger.next()
        store = stores[number % len(stores)]
        signal.setitimer(signal.ITIMER_PROF, CASE_SECONDS)  # its signal ends the process
        try:
            put(store, hostile)
            guard.on = True
            if number % 20:
                counts[f"{hostile.what}: {outcome(store, hostile)}"] += 1
            else:
                counts[frames(forger)] += 1
        except BaseException:  # each is a finding
            guard.on = False
            wrong.append(f"{number} {hostile.what}: {traceback.format_exc()[-1500:]}")
        finally:
            guard.on = False
            signal.setitimer(signal.ITIMER_PROF, 0)
        if guard.heard:
            wrong.append(f"{number} {hostile.what}: {guard.heard[:3]}")
            guard.heard.clear()
        if len(wrong) > 20:
            break
    print(json.dumps({"counts": counts, "wrong": wrong}))


if __name__ == "__main__":
    main()
