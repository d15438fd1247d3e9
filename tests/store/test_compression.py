"""Blobs that are compressed where it pays: the same values, fewer bytes, and no trust in frames."""

from __future__ import annotations

import logging
import os
import pickle
import random
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zstandard
from store.places import put_forward

from invariant_dask import Graph, compile
from invariant_dask.core.digest import LEAF_SIZE, BlobId, blob_id
from invariant_dask.errors import (
    ArtifactLostError,
    ArtifactNotFoundError,
    IntegrityError,
    SpecError,
)
from invariant_dask.store import ChainStore, DiskStore, Store, compression, open_store, upkeep
from invariant_dask.store.compression import compress, content_length, decompress
from invariant_dask.store.disk_opening import open_disk
from invariant_dask.store.objects import ObjectStore
from invariant_dask.store.objects_names import blob_name, frame_name
from invariant_dask.store.objects_opening import open_reference
from invariant_dask.testing import sample_manifest, sample_values

SIZE = 40_000
CONTENT = b"x" * SIZE
NOISE = random.Random(7).randbytes(SIZE)
WEEK = 7 * 24 * 3600


class Folder:
    """A store in a folder, and what is in it behind its back."""

    def __init__(self, root: Path) -> None:
        self.path = root / "store"

    def open(self, compression: str | None = "zstd") -> Store:
        return DiskStore(self.path, compression=compression)

    def names(self) -> dict[str, int]:
        files = (path for path in (self.path / "blobs").glob("*/*"))
        return {f"{path.parent.name}{path.name}": path.stat().st_size for path in files}

    def set(self, name: str, data: bytes) -> None:
        path = self.path / "blobs" / name[:2] / name[2:]
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_bytes(data)

    def aside(self) -> list[str]:
        return sorted(path.name.partition("-")[2] for path in (self.path / "quarantine").iterdir())


class Bucket:
    """The same in memory, as objects."""

    def __init__(self, root: Path) -> None:
        self.url = f"memory://{uuid.uuid4().hex}"
        self.client = ObjectStore(self.url)._client

    def open(self, compression: str | None = "zstd") -> Store:
        return open_store(self.url, compression=compression)

    def names(self) -> dict[str, int]:
        infos = self.client.list_many(["blobs"])
        return {info.name[6:].replace("/", ""): info.size for info in infos}

    def set(self, name: str, data: bytes) -> None:
        self.client.put(f"blobs/{name[:2]}/{name[2:]}", data)

    def aside(self) -> list[str]:
        infos = self.client.list_many(["quarantine"])
        return sorted(info.name.partition("-")[2] for info in infos)


@pytest.fixture(params=[Folder, Bucket])
def place(request, tmp_path: Path) -> Folder | Bucket:
    return request.param(tmp_path)


def frame_of(data: bytes) -> str:
    return f"{blob_id(data).hex()}.zst"


def without_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)


# --- what is written ---


def test_what_profits_is_kept_as_a_frame_and_the_rest_as_it_is(place) -> None:
    store = place.open()
    profits, not_so = (store.put(sample_manifest(n=n), v) for n, v in enumerate((CONTENT, NOISE)))
    assert place.names().keys() == {frame_of(CONTENT), blob_id(NOISE).hex()}
    assert place.names()[frame_of(CONTENT)] < SIZE // 100
    assert profits.parts == ((blob_id(CONTENT), SIZE),), "identity is of the content"
    assert (store.get(profits.resolved), store.get(not_so.resolved)) == (CONTENT, NOISE)


def test_compression_changes_no_record(place, tmp_path: Path) -> None:
    other = DiskStore(tmp_path / "raw")
    store = place.open()
    for name, value in sample_values().items():
        here, there = (each.put(sample_manifest(name=name), value) for each in (store, other))
        assert (here.hash, here.parts, here.size) == (there.hash, there.parts, there.size), name


def test_readers_without_the_option_read_frames_and_write_none(place) -> None:
    record = place.open().put(sample_manifest(), CONTENT)
    reader = place.open(None)
    assert reader.get(record.resolved) == CONTENT
    reader.put(sample_manifest(n=2), CONTENT[:-1])
    assert blob_id(CONTENT[:-1]).hex() in place.names()


def test_readers_with_the_option_read_what_is_raw(place) -> None:
    record = place.open(None).put(sample_manifest(), CONTENT)
    assert place.open().get(record.resolved) == CONTENT


def test_a_file_that_is_there_is_not_written_again_in_another_form(tmp_path: Path) -> None:
    place = Folder(tmp_path)
    for first, second, name in (("zstd", None, ".zst"), (None, "zstd", "")):
        data = CONTENT + name.encode()
        place.open(first).put(sample_manifest(n=1), data)
        before = place.names()
        place.open(second).put(sample_manifest(n=2), data)
        assert place.names() == before
        assert f"{blob_id(data).hex()}{name}" in before


@pytest.mark.parametrize("profits", [True, False])
def test_large_arrays_are_compressed_or_mapped_and_leave_nothing_behind(
    tmp_path: Path, profits: bool
) -> None:
    array = np.arange(LEAF_SIZE, dtype="<i8")
    if not profits:
        array = np.random.default_rng(1).integers(0, 2**63, LEAF_SIZE)
    store = Folder(tmp_path).open()
    record = store.put(sample_manifest(), array)
    ((name, size),) = Folder(tmp_path).names().items()
    assert name.endswith(".zst") == (size < array.nbytes) == profits
    assert list((tmp_path / "store" / "tmp").iterdir()) == []
    assert np.array_equal(DiskStore(store.url).get(record.resolved), array)


def test_large_object_travels_as_a_frame(tmp_path: Path) -> None:
    place = Bucket(tmp_path)
    array = np.random.default_rng(1).integers(0, 255, 3 << 20)  # 24 MiB, of which 1/8 is noise
    record = place.open().put(sample_manifest(), array)
    ((name, size),) = place.names().items()
    assert name.endswith(".zst")
    assert 1 << 20 < size < array.nbytes // 3
    before = place.names()
    place.open().put(sample_manifest(n=2), array)
    assert place.names() == before
    assert np.array_equal(place.open(None).get(record.resolved), array)


def test_what_is_longer_than_the_bound_stays_raw(place, monkeypatch) -> None:
    monkeypatch.setattr(compression, "LARGEST", SIZE - 1)
    record = place.open().put(sample_manifest(), CONTENT)
    assert place.names() == {blob_id(CONTENT).hex(): SIZE}
    assert place.open().get(record.resolved) == CONTENT


def test_damaged_raw_file_is_replaced_so_that_it_is_read_again(tmp_path: Path) -> None:
    place = Folder(tmp_path)
    place.open(None).put(sample_manifest(), CONTENT)
    place.set(blob_id(CONTENT).hex(), NOISE)
    store = place.open()
    assert store.get(store.put(sample_manifest(), CONTENT).resolved) == CONTENT
    assert store.stats.quarantined == 0


def test_requests_are_those_for_what_is_usual(tmp_path: Path, monkeypatch) -> None:
    place = Bucket(tmp_path)
    records = {how: place.open(how).put(sample_manifest(n=str(how)), CONTENT + str(how).encode())
               for how in (None, "zstd")}  # fmt: skip
    asked: list[str] = []
    for how, name in ((None, blob_name), ("zstd", frame_name)):
        store = place.open(how)
        attempt = store._client.attempt

        def noting(what: str, *args, attempt=attempt, **kwargs):
            asked.append(what)
            return attempt(what, *args, **kwargs)

        monkeypatch.setattr(store._client, "attempt", noting)
        asked.clear()
        store.get(records[how].resolved)
        ((blob, _),) = records[how].parts
        assert [each for each in asked if each.startswith("blobs/")] == [name(blob)] * 2


# --- hostile frames ---


def _lying() -> bytes:
    """A frame of 200 MiB that says that it has 40,000 bytes."""
    frame = bytearray(zstandard.compress(bytes(200 << 20)))
    size = (200 << 20).to_bytes(4, "little")
    at = frame.index(size)
    assert at < compression.HEADER
    frame[at : at + 4] = SIZE.to_bytes(4, "little")
    return bytes(frame)


def _with_window(log: int) -> bytes:
    """A sound frame of CONTENT, one block that repeats a byte, that asks for such a window."""
    block = (SIZE << 3) | (1 << 1) | 1
    head = b"\x28\xb5\x2f\xfd\x80" + bytes(((log - 10) << 3,)) + SIZE.to_bytes(4, "little")
    return head + block.to_bytes(3, "little") + b"x"


FRAME = zstandard.compress(CONTENT)
HOSTILE: dict[str, Callable[[], bytes]] = {
    "cut short": lambda: FRAME[:-3],
    "only a header": lambda: FRAME[:8],
    "with more behind": lambda: FRAME + b"x",
    "with another frame behind": lambda: FRAME + FRAME,
    "with a frame to skip before": lambda: b"\x50\x2a\x4d\x18\x04\0\0\0abcd" + FRAME,
    "of more bytes": lambda: zstandard.compress(CONTENT + b"x"),
    "of fewer bytes": lambda: zstandard.compress(CONTENT[:-1]),
    "of other bytes": lambda: zstandard.compress(b"y" * SIZE),
    "of unknown length": lambda: zstandard.ZstdCompressor(write_content_size=False).compress(
        CONTENT
    ),
    "of 200 MiB": lambda: zstandard.compress(bytes(200 << 20)),
    "of 200 MiB that says otherwise": _lying,
    "with a window of 1 GiB": lambda: _with_window(30),
    "no frame": lambda: bytes(100),
}


def test_frames_of_hand_are_sound_but_for_what_makes_them_hostile() -> None:
    assert decompress(_with_window(20), SIZE) == CONTENT
    assert zstandard.decompress(_with_window(30), max_output_size=SIZE) == CONTENT


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_frame_is_set_aside_and_made_anew(place, kind: str) -> None:
    store = place.open()
    record = store.put(sample_manifest(), CONTENT)
    bad = HOSTILE[kind]()
    place.set(frame_of(CONTENT), bad)
    for reader in (place.open(), place.open(None)):
        place.set(frame_of(CONTENT), bad)
        before = reader.stats.quarantined
        with pytest.raises(ArtifactNotFoundError):
            reader.get(record.resolved)
        assert reader.stats.quarantined == before + 1
        assert "damaged: blob" in reader.why(record.resolved)
        assert frame_of(CONTENT) not in place.names()
    name = f"{blob_id(CONTENT).hex()}.blob.zst"
    assert set(place.aside()) == {name, f"{name}.json"}
    again = place.open()
    again.put(sample_manifest(), CONTENT)
    assert again.get(record.resolved) == CONTENT


def test_frame_that_is_longer_than_its_content_is_not_read(place) -> None:
    store = place.open()
    record = store.put(sample_manifest(), CONTENT)
    place.set(frame_of(CONTENT), FRAME + NOISE)
    assert not store.exists(record.resolved)
    assert store.read_blob(blob_id(CONTENT), SIZE) is None
    assert store.stats.quarantined == 1


def test_empty_file_in_place_of_a_frame_is_a_miss(place) -> None:
    store = place.open()
    record = store.put(sample_manifest(), CONTENT)
    place.set(frame_of(CONTENT), b"")
    assert not store.exists(record.resolved)
    assert store.read_blob(blob_id(CONTENT), SIZE) is None


PEAK = """
import resource, sys
from pathlib import Path
from invariant_dask.errors import IntegrityError
from invariant_dask.store.compression import compress, decompress
assert len(decompress(compress(bytes(40_000)), 40_000)) == 40_000
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in map(Path, sys.argv[1:]):
    try:
        decompress(path.read_bytes(), 40_000)
    except IntegrityError:
        continue
    sys.exit(f"{path} was taken")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_hostile_frames_cost_no_memory(tmp_path: Path) -> None:
    paths = []
    for kind, make in HOSTILE.items():
        if kind != "of other bytes":
            paths.append(tmp_path / kind)
            paths[-1].write_bytes(make())
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *paths], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 16 << 10, "kilobytes"


@pytest.mark.parametrize("length", [0, -1, len(FRAME) - 1, SIZE - 1, SIZE + 1, 2**63])
def test_other_lengths_are_refused(length: int) -> None:
    with pytest.raises(IntegrityError):
        decompress(FRAME, length)


def test_any_bit_of_a_frame_may_be_wrong() -> None:
    data = np.arange(5000, dtype="<i4").tobytes()
    frame = compress(data)
    assert frame is not None
    chance = random.Random(3)
    for _ in range(2000):
        bad = bytearray(frame)
        bad[chance.randrange(len(bad))] ^= 1 << chance.randrange(8)
        del bad[chance.randrange(len(bad), 2 * len(bad)) :]
        try:
            assert len(decompress(bytes(bad), len(data))) == len(data)
        except IntegrityError as error:
            assert "frame" in str(error)  # noqa: PT017  either is right
        content_length(bytes(bad[: compression.HEADER]))


def test_run_makes_anew_what_is_in_a_damaged_frame(place) -> None:
    def compiled(store: Store):
        graph = Graph()
        graph.add("text", "stdlib:concat", parts=["x" * SIZE, "y"])
        return compile(graph, store=store)

    first = compiled(place.open()).compute(scheduler="sync")
    ((name, _),) = place.names().items()
    assert name.endswith(".zst")
    place.set(name, HOSTILE["of 200 MiB that says otherwise"]())
    store = place.open()
    assert compiled(store).compute(scheduler="sync") == first
    assert (store.stats.quarantined, list(place.names())) == (1, [name])


# --- without the library ---


def test_frames_are_misses_with_a_reason_where_the_library_is_missing(place, monkeypatch) -> None:
    record = place.open().put(sample_manifest(), CONTENT)
    without_library(monkeypatch)
    store = place.open(None)
    assert not store.exists(record.resolved)
    assert "pip install 'invariant-dask[zstd]'" in store.why(record.resolved)
    with pytest.raises(ArtifactLostError, match=r"invariant-dask\[zstd\]"):
        store.fetch(record)
    assert store.read_blob(blob_id(CONTENT), SIZE) is None
    told = upkeep.verify(store)
    assert told.is_sound, "what cannot be read here is not damaged"
    assert "invariant-dask[zstd]" in str(told)
    store.put(sample_manifest(), CONTENT)
    assert store.get(record.resolved) == CONTENT
    assert store.stats.quarantined == 0
    assert blob_id(CONTENT).hex() in place.names()


def test_reason_of_a_tier_is_that_of_its_chain(place, monkeypatch) -> None:
    record = place.open().put(sample_manifest(), CONTENT)
    without_library(monkeypatch)
    chain = ChainStore(open_store("memory:"), place.open(None))
    assert not chain.exists(record.resolved)
    assert "invariant-dask[zstd]" in chain.why(record.resolved)


def test_compression_without_the_library_is_refused(tmp_path: Path, monkeypatch) -> None:
    without_library(monkeypatch)
    for where in (tmp_path / "s", f"memory://{uuid.uuid4().hex}"):
        with pytest.raises(SpecError, match=r"pip install 'invariant-dask\[zstd\]'"):
            open_store(where, compression="zstd")


def test_worker_without_the_library_writes_what_is_raw(tmp_path: Path, monkeypatch, caplog) -> None:
    folder = DiskStore(tmp_path / "s", compression="zstd")
    files = open_store((tmp_path / "o").as_uri(), compression="zstd")
    refs = [folder.ref(), files.ref()]
    for ref in refs:
        ref.show()
    without_library(monkeypatch)
    for ref, opener in zip(refs, (open_disk, open_reference), strict=True):
        with caplog.at_level(logging.WARNING):
            store = opener(ref)
        assert "uncompressed" in caplog.text
        caplog.clear()
        assert store.get(store.put(sample_manifest(), CONTENT).resolved) == CONTENT


# --- options ---


def test_unknown_compression_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="'lzma'; there are 'zstd' and None"):
        DiskStore(tmp_path / "s", compression="lzma")


def test_option_is_for_places_and_for_tiers_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "s"
    for where in (path, str(path), f"disk:{path}"):
        assert open_store(where, compression="zstd").compression == "zstd"
        assert open_store(where).compression is None
    chain = open_store(["memory:", {"url": str(path), "compression": "zstd"}])
    chain.put(sample_manifest(), CONTENT)
    assert len(list((path / "blobs").glob("*/*.zst"))) == 1
    with pytest.raises(SpecError, match="for each tier"):
        open_store(["memory:", str(path)], compression="zstd")
    with pytest.raises(SpecError, match=r"endpoint_url: disk://.* takes no such option"):
        open_store(f"disk://{path}", endpoint_url="x", compression="zstd")
    with pytest.raises(SpecError, match="memory: takes no such option"):
        open_store("memory:", compression="zstd")
    with pytest.raises(SpecError, match="open already"):
        open_store(DiskStore(path), compression="zstd")


PUT = """
import pickle, sys
store = pickle.loads(bytes.fromhex(sys.argv[1])).open()
store.write_blob(b"elsewhere" * 5000)
store.close()
"""


@pytest.mark.parametrize("scheme", ["folder", "files", "chain"])
def test_other_processes_compress_as_the_client_does(scheme: str, tmp_path: Path) -> None:
    path = tmp_path / "s"
    where = path.as_uri() if scheme == "files" else str(path)
    store = open_store(where, compression="zstd")
    if scheme == "chain":
        store = open_store([{"url": where, "compression": "zstd"}])
    data = pickle.dumps(store.ref()).hex()
    subprocess.run([sys.executable, "-W", "error", "-c", PUT, data], check=True)
    assert [file.suffix for file in (path / "blobs").glob("*/*")] == [".zst"]
    assert store.read_blob(blob_id(b"elsewhere" * 5000), 45_000) == b"elsewhere" * 5000


# --- upkeep ---


def test_sizes_are_those_of_the_files(place) -> None:
    store = place.open()
    for n, value in enumerate((CONTENT, NOISE, CONTENT)):
        store.put(sample_manifest(n=n), value)
    keeper = store.keeper()
    assert {seen.blob: seen.size for seen in keeper.blobs()} == {
        BlobId(bytes.fromhex(name.removesuffix(".zst"))): size
        for name, size in place.names().items()
    }
    entries = sum(entry.size for entry in keeper.entries())
    assert upkeep.overview(store).size == entries + sum(place.names().values()) < 2 * SIZE
    assert keeper.size() in {None, upkeep.overview(store).size}


def test_size_limit_is_for_the_bytes_that_are_kept(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "s", size_limit=SIZE, compression="zstd")
    records = [store.put(sample_manifest(n=n), CONTENT + bytes([n])) for n in range(20)]
    assert store.lookup([record.resolved for record in records]).keys() == {
        record.resolved for record in records
    }
    assert store.stats.evicted == 0


def test_size_is_not_listed_again_for_a_blob_that_went_meanwhile(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "s", compression="zstd")
    store._index.correct_sizes([(blob_id(CONTENT), 5)])
    assert list(store.keeper().blobs()) == []


def test_collector_frees_frames(place) -> None:
    store = place.open()
    kept = store.put(sample_manifest(n=1), CONTENT)
    store.put(sample_manifest(n=2), CONTENT + b"y")
    store.put(sample_manifest(n=2), 1)  # replaces it
    size = place.names()[frame_of(CONTENT + b"y")]
    put_forward(store, WEEK)
    report = upkeep.collect(store)
    assert [(r.what, r.size) for r in report.removals] == [("blob", size)]
    assert list(place.names()) == [frame_of(CONTENT)]
    assert store.get(kept.resolved) == CONTENT


def test_collector_frees_both_forms_of_a_blob(place) -> None:
    store = place.open()
    name = blob_id(CONTENT).hex()
    place.set(f"{name}.zst", FRAME)
    place.set(name, CONTENT)
    ((seen),) = store.keeper().blobs()
    assert seen.size == SIZE + len(FRAME)
    put_forward(store, WEEK)
    assert [r.what for r in upkeep.collect(store).removals] == ["blob"]
    assert place.names() == {}


@pytest.mark.parametrize("name", ["rest", f"{'0' * 62}.zst.zst", f"{'z' * 62}.zst", ".zst"])
def test_names_that_are_none_of_ours_are_left_alone(place, name: str) -> None:
    store = place.open()
    place.set(f"00{name}", b"?")
    assert list(store.keeper().blobs()) == []


def test_verify_reads_frames_that_no_record_names(place) -> None:
    store = place.open()
    for data in (CONTENT, NOISE):
        store.write_blob(data)
    told = upkeep.verify(store)
    assert (told.blobs, told.size, told.is_sound) == (2, 2 * SIZE, True)


@pytest.mark.parametrize("kind", HOSTILE)
def test_verify_finds_hostile_frames_that_no_record_names(place, kind: str) -> None:
    store = place.open()
    place.set(frame_of(CONTENT), HOSTILE[kind]())
    told = upkeep.verify(store)
    assert [(each.what, each.digest) for each in told.damage] == [("blob", blob_id(CONTENT))]
    assert place.names() == {}


def test_files_of_frames_are_told(tmp_path: Path) -> None:
    store = Folder(tmp_path).open()
    record = store.put(sample_manifest(), CONTENT)
    (path,) = upkeep.show(store, record.resolved).files
    assert path.name.endswith(".zst")
    assert zstandard.decompress(path.read_bytes()) == CONTENT
    assert not os.access(path, os.W_OK) or os.getuid() == 0
