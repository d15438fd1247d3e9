"""Input files are known by their content, and ops read nothing else, whatever happens meanwhile."""

from __future__ import annotations

import copy
import gc
import hashlib
import io
import logging
import multiprocessing
import os
import pickle
import random
import sqlite3
import stat
import subprocess
import sys
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry
from hypothesis import given, settings
from hypothesis import strategies as st

from invariant_dask.core.digest import LEAF_SIZE, blob_id
from invariant_dask.core.encode import encode
from invariant_dask.core.files import File, FileContent
from invariant_dask.errors import FileInputError, NotCacheableError
from invariant_dask.store import file_hashes as hashes
from invariant_dask.store import file_sources as sources
from invariant_dask.store.file_hashes import FileHasher
from invariant_dask.store.files import WHOLE, FileHandle, open_file

LONG = WHOLE + LEAF_SIZE + 7
SIZES = [0, 1, 1000, LEAF_SIZE - 1, LEAF_SIZE, LEAF_SIZE + 1, WHOLE, WHOLE + 1, LONG]
OLD = 1_500_000_000


def some_bytes(size: int, seed: int = 0) -> bytes:
    return hashlib.shake_128(seed.to_bytes(4, "big")).digest(size)


def nothing(_blob, _length):
    return None


def handle_of(path, hasher=None, fetch=nothing, *, suffix=False) -> FileHandle:
    hasher = hasher or FileHasher()
    return open_file(hasher(File(path, suffix=suffix)), hasher, fetch)


@pytest.fixture
def later(monkeypatch):
    """A clock that can be put forward: files made by a test are young."""

    class Clock:
        ahead = 0

        def forward(self, seconds: float) -> None:
            self.ahead += int(seconds * 1e9)

    clock = Clock()
    real = time.time_ns
    monkeypatch.setattr(hashes.time, "time_ns", lambda: real() + clock.ahead)
    return clock


@pytest.fixture
def reads(monkeypatch):
    """How many chunks were read from files: a wrapper around the real thing."""
    seen: list[int] = []
    real = hashes.chunks_of

    def counted(file):
        for chunk in real(file):
            seen.append(len(chunk))
            yield chunk

    monkeypatch.setattr(hashes, "chunks_of", counted)
    monkeypatch.setattr(sources, "chunks_of", counted)
    return seen


# --- identity is content --------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
def test_a_file_is_known_by_length_and_tree_hash(tmp_path, size) -> None:
    path = tmp_path / "a"
    path.write_bytes(some_bytes(size))
    assert FileHasher()(File(path)) == FileContent(size, blob_id(some_bytes(size)), None, str(path))


def test_name_place_and_date_do_not_matter(tmp_path) -> None:
    first = tmp_path / "photo.jpg"
    first.write_bytes(b"light")
    hasher = FileHasher()
    before = encode(hasher(File(first))).hash
    os.utime(first, (OLD, OLD))
    assert encode(hasher(File(first))).hash == before
    (tmp_path / "sub").mkdir()
    moved = first.rename(tmp_path / "sub" / "other.png")
    assert encode(hasher(File(moved))).hash == before
    link = tmp_path / "link"
    link.symlink_to(moved)
    assert encode(hasher(File(link))).hash == before


def test_an_edit_is_another_file(tmp_path) -> None:
    path = tmp_path / "a"
    hasher = FileHasher()
    seen = set()
    for text in (b"one", b"two", b"three", b""):
        path.write_bytes(text)
        seen.add(encode(hasher(File(path))).hash)
    assert len(seen) == 4


@pytest.mark.parametrize("remembered", [False, True])
def test_an_edit_within_two_seconds_is_seen_even_if_all_times_are_alike(
    tmp_path, remembered, monkeypatch
) -> None:
    # As on a file system whose clock ticks rarely: size, inode and both times stay as they are.
    path = tmp_path / "a"
    now = time.time_ns()
    real = hashes.stamp_of
    monkeypatch.setattr(hashes, "stamp_of", lambda seen: (*real(seen)[:3], now, now))
    hasher = FileHasher(tmp_path / "m.sqlite" if remembered else None)
    for text in (b"one", b"two"):
        path.write_bytes(text)
        assert hasher(File(path)).blob == blob_id(text)


def test_an_edit_with_its_old_date_put_back_is_seen(tmp_path, later) -> None:
    path = tmp_path / "a"
    hasher = FileHasher(tmp_path / "m.sqlite")
    for text in (b"one", b"two"):
        path.write_bytes(text)
        os.utime(path, (OLD, OLD))
        later.forward(10)  # so that only the time of change tells the two apart
        assert hasher(File(path)).blob == blob_id(text)


@pytest.mark.parametrize(
    ("location", "suffix"),
    [
        ("a.JPG", ".jpg"), ("a.tar.gz", ".gz"), ("a", ""), (".hidden", ""), ("a.b/c", ""),
        ("a.", "."),
        ("s3://bucket.name/key", ""), ("s3://b/k?.Png", ".png"),
        ("https://h/a.JPG?token=x.secret#part", ".jpg"), ("https://h.org", ""),
        ("https://h/a?file=b.jpg", ""),
        ("zip://img.PNG::file:///tmp/a.zip", ".png"), ("simplecache::s3://b/x.tif", ".tif"),
    ],
)  # fmt: skip
def test_the_suffix_is_visible_only_if_asked_for(location, suffix) -> None:
    assert File(location, suffix=True).visible_suffix == suffix
    assert File(location).visible_suffix is None


def test_the_suffix_is_identity_if_it_is_visible(tmp_path) -> None:
    (tmp_path / "a.PNG").write_bytes(b"x")
    (tmp_path / "a.png").write_bytes(b"x")
    (tmp_path / "a.jpg").write_bytes(b"x")
    hasher = FileHasher()

    def hash_of(name, **kwargs):
        return encode(hasher(File(tmp_path / name, **kwargs))).hash

    assert hash_of("a.PNG", suffix=True) == hash_of("a.png", suffix=True)
    assert hash_of("a.jpg", suffix=True) != hash_of("a.png", suffix=True)
    assert hash_of("a.png", suffix=True) != hash_of("a.png")
    assert hash_of("a.jpg") == hash_of("a.png")


def test_locations_are_absolute(tmp_path, monkeypatch) -> None:
    (tmp_path / "a b").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    hasher = FileHasher()
    spellings = ("a b", "./a b", "~/a b", f"file://{tmp_path}/a b", Path("a b"), b"a b")
    for spelling in spellings:
        location = Path(hasher(File(spelling)).location)
        assert location.is_absolute()
        assert location.samefile(tmp_path / "a b")


# --- what cannot be read --------------------------------------------------------------------------


def test_what_is_no_readable_file_is_an_error_that_names_it(tmp_path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "gone").symlink_to("nowhere")
    cases = {
        tmp_path / "absent": "No such file",
        tmp_path / "gone": "No such file",
        tmp_path: "is a directory; pass a list of its files",
        tmp_path / "pipe": "not a regular file",
        Path("/dev/null"): "not a regular file",
        tmp_path / "loop": "symbolic links",
        "a\0b": "null",
        "~nosuchuser/a": "No such file",
        "\udcff": "not valid UTF-8",
        "": "is a directory",
        "memory://absent": "absent",
        "nosuchprotocol://a": "Protocol not known",
    }
    for location, reason in cases.items():
        with pytest.raises(FileInputError, match=reason) as caught:
            FileHasher()(File(location))
        assert str(location) in str(caught.value) or repr(str(location))[1:-1] in str(caught.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="takes another user's place")
def test_a_file_without_permission_is_an_error_that_says_so(tmp_path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"x")
    path.chmod(0)
    for folder in (tmp_path, *tmp_path.parents):
        if folder != Path("/") and folder != Path("/tmp"):
            folder.chmod(folder.stat().st_mode | 0o555)
    program = (
        "import os, sys; sys.path[:0] = %r\n"
        "from invariant_dask.core.files import File\n"
        "from invariant_dask.store.file_hashes import FileHasher\n"
        "import fsspec\n"
        "os.setuid(65534)\n"
        "try: FileHasher()(File(sys.argv[1]))\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    ) % [str(Path(hashes.__file__).parents[2])]
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("FileInputError input file")
    assert "Permission denied" in done.stdout


def test_a_file_that_changes_while_it_is_hashed_is_read_again(tmp_path, monkeypatch) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"first")
    real, edits = hashes.hash_chunks, [b"second", b"the third"]

    def hash_then_edit(chunks):
        found = real(chunks)
        if edits:
            path.write_bytes(edits.pop(0))
        return found

    monkeypatch.setattr(hashes, "hash_chunks", hash_then_edit)
    assert FileHasher()(File(path)).blob == blob_id(b"the third")
    edits[:] = [b"x" * n for n in range(1, 9)]
    with pytest.raises(FileInputError, match="keeps changing while it is read"):
        FileHasher()(File(path))


# --- memory ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_left_alone_is_hashed_once(tmp_path, later, reads, durable) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * 1000)
    later.forward(5)
    hasher = FileHasher(tmp_path / "m.sqlite" if durable else None)
    first = hasher(File(path))
    assert len(reads) == 1
    assert hasher(File(path)) == first
    assert pickle.loads(pickle.dumps(hasher))(File(path)) == first
    assert len(reads) == (1 if durable else 2)  # what is not durable is not pickled either


def test_a_young_file_is_never_remembered(tmp_path, later, reads) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x")
    os.utime(path, (OLD, OLD))  # only the time of change is young
    hasher = FileHasher(tmp_path / "m.sqlite")
    for _ in range(3):
        hasher(File(path))
    assert len(reads) == 3
    later.forward(3)
    for _ in range(3):
        hasher(File(path))
    assert len(reads) == 4


def test_a_file_that_is_young_when_hashing_starts_is_not_remembered(
    tmp_path, later, reads, monkeypatch
) -> None:
    # Hashing a large file takes longer than the two seconds; it may have been written until then.
    path = tmp_path / "a"
    path.write_bytes(b"x")
    real = hashes.hash_chunks

    def slow(chunks):
        later.forward(10)
        return real(chunks)

    monkeypatch.setattr(hashes, "hash_chunks", slow)
    hasher = FileHasher()
    hasher(File(path))
    assert not hasher._known


def test_dates_in_the_future_are_never_remembered(tmp_path, later, reads) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x")
    ahead = time.time() + 10_000
    os.utime(path, (ahead, ahead))
    later.forward(5)
    hasher = FileHasher()
    assert hasher(File(path)) == hasher(File(path))
    assert len(reads) == 2


def test_a_symbolic_link_pointed_elsewhere_meanwhile_spoils_no_memory(
    tmp_path, later, monkeypatch
) -> None:
    for name in "ab":
        (tmp_path / name).write_bytes(name.encode())
    link = tmp_path / "link"
    link.symlink_to("a")
    later.forward(10)
    real = hashes.stamp_of_path

    def switch(path):
        found = real(path)
        if os.fspath(path) == str(link):
            link.unlink()
            link.symlink_to("b")
        return found

    hasher = FileHasher()
    with monkeypatch.context() as patched:
        patched.setattr(hashes, "stamp_of_path", switch)
        assert hasher(File(link)).blob == blob_id(b"b")
    assert hasher(File(tmp_path / "a")).blob == blob_id(b"a")
    assert hasher(File(tmp_path / "b")).blob == blob_id(b"b")


def test_the_memory_is_shared_by_processes(tmp_path, later) -> None:
    memory = tmp_path / "m.sqlite"
    for n in range(20):
        (tmp_path / str(n)).write_bytes(some_bytes(100, n))
    paths = [str(tmp_path / str(n)) for n in range(20)]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        found = pool.starmap(_hash_settled, [(str(memory), path) for path in paths * 2])
    assert found == [blob_id(some_bytes(100, n)) for n in range(20)] * 2
    with sqlite3.connect(memory) as rows:
        assert rows.execute("SELECT count(*) FROM hashes").fetchone() == (20,)
    rows.close()


def _hash_settled(memory: str, path: str) -> bytes:
    hashes.SETTLED_NS = -1  # in a process of its own
    return FileHasher(memory)(File(path)).blob


def test_the_memory_serves_many_threads(tmp_path, later) -> None:
    paths = [tmp_path / str(n) for n in range(30)]
    for n, path in enumerate(paths):
        path.write_bytes(some_bytes(50, n))
    later.forward(5)
    hasher = FileHasher(tmp_path / "m.sqlite")
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda path: hasher(File(path)).blob, paths * 3))
    assert found == [blob_id(path.read_bytes()) for path in paths] * 3


def damage_row(path) -> None:
    rows = sqlite3.connect(path)
    with rows:
        assert rows.execute("UPDATE hashes SET blob = ?", (bytes(32),)).rowcount == 1
    rows.close()


def test_a_damaged_row_is_not_believed(tmp_path, later) -> None:
    path, memory = tmp_path / "a", tmp_path / "m.sqlite"
    path.write_bytes(b"x")
    later.forward(5)
    FileHasher(memory)(File(path))
    damage_row(memory)
    assert FileHasher(memory)(File(path)).blob == blob_id(b"x")


@pytest.mark.parametrize("kind", ["no folder", "no database", "a folder"])
def test_a_memory_that_cannot_be_used_costs_time_only(tmp_path, later, caplog, kind) -> None:
    memory = {
        "no folder": tmp_path / "no" / "m",
        "no database": tmp_path / "m",
        "a folder": tmp_path,
    }
    if kind == "no database":
        memory[kind].write_text("these are not the pages that you are looking for\n" * 100)
    for name in "ab":
        (tmp_path / name).write_bytes(name.encode())
    later.forward(5)
    hasher = FileHasher(memory[kind])
    with caplog.at_level(logging.WARNING):
        for name in "ab" * 2:
            assert hasher(File(tmp_path / name)).blob == blob_id(name.encode())
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "not remembered" in caplog.text
    if kind == "no database":
        assert memory[kind].read_text().startswith("these are not")


def test_the_memory_stays_where_it_was_when_the_folder_changes(
    tmp_path, later, monkeypatch
) -> None:
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "elsewhere").mkdir()
    later.forward(5)
    monkeypatch.chdir(tmp_path)
    hasher = FileHasher("m.sqlite")
    monkeypatch.chdir(tmp_path / "elsewhere")
    hasher(File(tmp_path / "a"))
    assert (tmp_path / "m.sqlite").exists()
    assert not list((tmp_path / "elsewhere").iterdir())


def test_hashing_takes_bounded_memory(tmp_path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(200 * LEAF_SIZE)
    tracemalloc.start()
    content = FileHasher()(File(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert content.length == 200 * LEAF_SIZE
    assert peak < 150 * LEAF_SIZE


# --- URLs -----------------------------------------------------------------------------------------


class Tagged(MemoryFileSystem):
    """Gives versions, as object stores and web servers do."""

    protocol = ("tagged", "http")
    store: ClassVar[dict] = {}
    pseudo_dirs: ClassVar[list] = [""]
    extra: ClassVar[dict] = {}
    opened: ClassVar[list] = []
    listed: ClassVar[dict] = {}

    @classmethod
    def _strip_protocol(cls, path):
        return MemoryFileSystem._strip_protocol(path.partition("://")[2] or path)

    def info(self, path, **kwargs):
        if path not in self.listed:  # clients keep listings until told to forget them
            tag = hashlib.md5(self.cat_file(path), usedforsecurity=False).hexdigest()
            self.listed[path] = super().info(path, **kwargs) | {"ETag": f'"{tag}"'} | self.extra
        return self.listed[path]

    def invalidate_cache(self, path=None):
        self.listed.clear()

    def _open(self, path, mode="rb", **kwargs):
        self.opened.append((path, mode))
        return super()._open(path, mode, **kwargs)

    def cat_file(self, path, **kwargs):
        return self.store[self._strip_protocol(path)].getvalue()


@pytest.fixture
def tagged():
    before = dict(_registry)
    for protocol in Tagged.protocol:
        fsspec.register_implementation(protocol, Tagged, clobber=True)
    Tagged.store.clear()
    Tagged.opened.clear()
    Tagged.listed.clear()
    Tagged.extra = {}
    yield Tagged
    _registry.clear()
    _registry.update(before)
    Tagged.clear_instance_cache()


def put(url, data) -> None:
    with fsspec.open(url, "wb") as file:
        file.write(data)
    Tagged.opened.clear()


def test_a_url_is_known_by_its_content(tmp_path) -> None:
    put("memory://bucket/a.bin", some_bytes(LEAF_SIZE + 5))
    (tmp_path / "a").write_bytes(some_bytes(LEAF_SIZE + 5))
    hasher = FileHasher(tmp_path / "m.sqlite")
    found = hasher(File("memory://bucket/a.bin"))
    assert found.location == "memory://bucket/a.bin"
    assert encode(found).hash == encode(hasher(File(tmp_path / "a"))).hash
    put("memory://bucket/a.bin", b"changed")
    assert hasher(File("memory://bucket/a.bin")).blob == blob_id(b"changed")


def test_a_url_with_a_version_is_read_once(tagged, tmp_path) -> None:
    put("tagged://b/a", b"x" * 100)
    memory = tmp_path / "m.sqlite"
    first = FileHasher(memory)(File("tagged://b/a"))
    assert len(tagged.opened) == 1
    assert FileHasher(memory)(File("tagged://b/a")) == first
    assert len(tagged.opened) == 1
    put("tagged://b/a", b"y" * 100)
    assert FileHasher(memory)(File("tagged://b/a")).blob == blob_id(b"y" * 100)


@pytest.mark.parametrize(
    ("url", "extra", "remembered"),
    [
        ("tagged://b/a", {"ETag": 'W/"1"'}, False),
        ("tagged://b/a", {"ETag": ""}, False),
        ("tagged://b/a", {"ETag": None, "generation": "17"}, True),
        ("http://b/a", {}, True),
        ("http://b/a", {"Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}, True),
        ("http://b/a", {"Last-Modified": "Wed, 21 Oct 2515 07:28:00 GMT"}, False),
        ("http://b/a", {"Last-Modified": "lately"}, False),
    ],
)
def test_only_versions_that_promise_the_bytes_are_believed(tagged, url, extra, remembered) -> None:
    put(url, b"x")
    tagged.extra = extra
    hasher = FileHasher()
    hasher(File(url))
    hasher(File(url))
    assert len(tagged.opened) == (1 if remembered else 2)


def test_a_url_that_changes_while_it_is_read_is_read_again(tagged, monkeypatch) -> None:
    put("tagged://b/a", b"first")
    real, edits = hashes.hash_chunks, [b"second"]

    def hash_then_edit(chunks):
        found = real(chunks)
        if edits:
            put("tagged://b/a", edits.pop())
        return found

    monkeypatch.setattr(hashes, "hash_chunks", hash_then_edit)
    assert FileHasher()(File("tagged://b/a")).blob == blob_id(b"second")


def test_secrets_in_urls_are_not_written_down(tagged, tmp_path) -> None:
    put("tagged://user:hunter2@b/a", b"x")
    FileHasher(tmp_path / "m.sqlite")(File("tagged://user:hunter2@b/a"))
    rows = sqlite3.connect(tmp_path / "m.sqlite")
    assert rows.execute("SELECT count(*) FROM hashes").fetchone() == (1,)
    rows.close()
    assert b"hunter2" not in (tmp_path / "m.sqlite").read_bytes()


def test_errors_of_any_client_are_errors_of_the_file(tagged, monkeypatch) -> None:
    put("tagged://b/a", b"x")

    def fail(*_args, **_kwargs):
        raise RuntimeError("payload is not completed")  # clients raise what they like

    monkeypatch.setattr(Tagged, "_open", fail)
    with pytest.raises(FileInputError, match=r"tagged://b/a.*payload is not completed"):
        FileHasher()(File("tagged://b/a"))


@given(st.integers(0, 3 * LEAF_SIZE), st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_leaves_do_not_depend_on_how_a_stream_delivers(size, seed) -> None:
    data, source = some_bytes(size), random.Random(seed)

    class Dribble(io.BytesIO):
        def read(self, size=-1):
            return super().read(source.randint(1, max(1, min(size, LEAF_SIZE))))

    whole = hashes.hash_chunks(hashes.chunks_of(Dribble(data)))
    assert hashes.blob_id_of_leaves(*whole) == blob_id(data)


# --- what an op sees ------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
def test_all_ways_of_reading_give_the_content(tmp_path, size) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(some_bytes(size))
    handle = handle_of(path)
    assert handle.size == size
    assert handle.suffix is None
    for fresh in (handle, handle_of(path), handle_of(path)):
        with fresh.open() as file:
            assert file.read() == some_bytes(size)
        assert fresh.read_bytes() == some_bytes(size)
        assert Path(fresh.as_path()).read_bytes() == some_bytes(size)


def test_a_url_can_be_read_in_all_ways() -> None:
    for size in (1000, LONG):
        put("memory://b/a", some_bytes(size))
        for read in (
            lambda handle: handle.read_bytes(),
            lambda handle: Path(handle.as_path()).read_bytes(),
        ):
            assert read(handle_of("memory://b/a")) == some_bytes(size)
        handle = handle_of("memory://b/a")
        with handle.open() as file:
            assert file.seekable()
            assert file.read() == some_bytes(size)


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_an_open_file_can_be_read_in_any_order(tmp_path_factory, data) -> None:
    path = tmp_path_factory.getbasetemp() / "any-order"
    if not path.exists():
        path.write_bytes(some_bytes(LONG))
    with ANY_ORDER.setdefault(path, handle_of(path)).open() as ours, path.open("rb") as real:
        for _ in range(data.draw(st.integers(1, 6))):
            where = data.draw(st.integers(0, LONG + 10))
            size = data.draw(st.sampled_from([0, 1, 100, LEAF_SIZE, LEAF_SIZE + 1, 3 * LEAF_SIZE]))
            assert ours.seek(where) == real.seek(where)
            assert ours.read(size) == real.read(size)
            assert ours.tell() == real.tell()
        assert ours.seek(-5, os.SEEK_END) == real.seek(-5, os.SEEK_END)
        assert ours.readline() == real.readline()
        assert ours.seek(-2, os.SEEK_CUR) == real.seek(-2, os.SEEK_CUR)
        for buffer, other in ((bytearray(10), bytearray(10)),):
            assert ours.readinto(buffer) == real.readinto(other)
            assert buffer == other


ANY_ORDER: dict[Path, FileHandle] = {}


@pytest.mark.parametrize("size", [1000, LONG])
def test_an_open_file_is_for_reading(tmp_path, size) -> None:
    (tmp_path / "a").write_bytes(some_bytes(size))
    with handle_of(tmp_path / "a").open() as file:
        assert file.readable()
        assert file.seekable()
        with pytest.raises((OSError, ValueError)):
            file.seek(-1)
        if size == LONG:
            assert not file.writable()
            with pytest.raises(io.UnsupportedOperation):
                file.write(b"x")
        else:
            file.write(b"changed")  # a private buffer
    assert file.closed
    assert (tmp_path / "a").read_bytes() == some_bytes(size)
    assert handle_of(tmp_path / "a").read_bytes() == some_bytes(size)


def test_reading_a_part_takes_little_memory(tmp_path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(200 * LEAF_SIZE)
    handle = handle_of(path)
    with handle.open() as first:  # hashes all of it, chunk by chunk
        first.read(1)
    tracemalloc.start()
    with handle.open() as file:
        file.seek(150 * LEAF_SIZE)
        assert file.read(10) == bytes(10)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * LEAF_SIZE


READERS = {
    "read_bytes": lambda handle: handle.read_bytes(),
    "open": lambda handle: handle.open().read(),
    "as_path": lambda handle: Path(handle.as_path()).read_bytes(),
}


def replaced(path, size):
    path.write_bytes(some_bytes(size, 1))


def shorter(path, size):
    os.truncate(path, size - 1)


def longer(path, size):
    with path.open("ab") as file:
        file.write(b"more")


def deleted(path, size):
    path.unlink()


def one_byte(path, size):
    seen = path.stat()
    with path.open("r+b") as file:
        file.seek(size - 1)
        last = file.read(1)[0]
        file.seek(size - 1)
        file.write(bytes([last ^ 1]))
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))


def folder(path, size):
    path.unlink()
    path.mkdir()


CHANGES = [replaced, shorter, longer, deleted, one_byte, folder]


@pytest.mark.parametrize("size", [1000, LONG])
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_other_content_is_never_seen(tmp_path, size, change, read) -> None:
    path = tmp_path / "photo"
    path.write_bytes(some_bytes(size))
    hasher = FileHasher()
    content = hasher(File(path))
    change(path, size)
    with pytest.raises(FileInputError, match="compile the graph again") as caught:
        read(open_file(content, hasher, nothing))
    text = str(caught.value)
    assert str(path) in text
    assert f"hash {content.blob.hex()[:12]} of {size} bytes" in text
    if path.is_file():
        assert f"there is hash {blob_id(path.read_bytes()).hex()[:12]} of" in text
    else:
        assert "there is no file" in text
    # What was published is as good as the file.
    asked = []

    def fetch(blob, length):
        asked.append((blob, length))
        return memoryview(some_bytes(size))

    assert read(open_file(content, hasher, fetch)) == some_bytes(size)
    assert asked == [(content.blob, size)]


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
@pytest.mark.parametrize("size", [1000, LONG])
def test_a_published_copy_is_verified_too(tmp_path, read, size) -> None:
    path = tmp_path / "photo"
    path.write_bytes(some_bytes(size))
    content = FileHasher()(File(path))
    path.unlink()
    for wrong in (some_bytes(size, 1), some_bytes(size)[:-1], b""):
        with pytest.raises(FileInputError, match="there is no file"):
            read(open_file(content, FileHasher(), lambda _b, _n, wrong=wrong: wrong))


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_the_store_is_not_asked_while_the_file_is_there(tmp_path, read) -> None:
    path = tmp_path / "photo"
    path.write_bytes(some_bytes(LONG))

    def fetch(_blob, _length):
        raise AssertionError("asked")

    assert read(handle_of(path, fetch=fetch)) == some_bytes(LONG)


@pytest.mark.parametrize("change", [one_byte, shorter, replaced])
def test_a_long_file_that_changes_under_an_open_handle_is_an_error(tmp_path, change) -> None:
    path = tmp_path / "photo"
    path.write_bytes(some_bytes(LONG))
    with handle_of(path).open() as file:
        assert file.read(10) == some_bytes(LONG)[:10]
        change(path, LONG)
        with pytest.raises(FileInputError, match="changed while an op was reading it"):
            file.seek(-1, os.SEEK_END) and file.read()


@pytest.mark.parametrize("size", [1000, LONG])
def test_what_was_read_or_copied_stays_when_the_file_goes(tmp_path, size) -> None:
    path = tmp_path / "photo"
    path.write_bytes(some_bytes(size))
    handle, other = handle_of(path), handle_of(path)
    data, copied = handle.read_bytes(), Path(other.as_path())
    os.truncate(path, 0)  # a map of the file would end the process here
    assert data == some_bytes(size)
    assert copied.read_bytes() == some_bytes(size)
    path.unlink()
    assert Path(other.as_path()).read_bytes() == some_bytes(size)


def test_leaves_are_believed_because_they_hash_to_the_id(tmp_path, reads) -> None:
    path = tmp_path / "photo"
    path.write_bytes(some_bytes(LONG))
    hasher = FileHasher()
    content = hasher(File(path))
    for _ in range(3):
        with open_file(content, hasher, nothing).open() as file:
            assert file.read(3) == some_bytes(LONG)[:3]
    assert len(reads) == 2  # once to compile, once to open: not once for each handle


def test_leaves_used_last_are_kept_longest(tmp_path, reads, monkeypatch) -> None:
    monkeypatch.setattr(hashes, "_LEAVES_KEPT", 2)
    hasher = FileHasher()
    contents = []
    for n in range(3):
        (tmp_path / str(n)).write_bytes(some_bytes(LONG, n))
        contents.append(hasher(File(tmp_path / str(n))))
    reads.clear()
    for index, total in ((0, 1), (1, 2), (0, 2), (2, 3), (0, 3), (1, 4)):
        open_file(contents[index], hasher, nothing).open().close()
        assert len(reads) == total


# --- the path for other programs ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "suffix", "expected"),
    [("Secret.JPG", False, "input"), ("Secret.JPG", True, "input.jpg"), ("plain", True, "input")],
)
def test_the_path_tells_no_more_than_the_suffix(tmp_path, name, suffix, expected) -> None:
    path = tmp_path / name
    path.write_bytes(b"x")
    private = Path(handle_of(path, suffix=suffix).as_path())
    assert private.name == expected
    assert "secret" not in str(private).lower()
    assert not private.is_symlink()


def test_the_path_is_private_and_read_only_and_stays_the_same(tmp_path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    handle = handle_of(tmp_path / "a")
    path = Path(handle.as_path())
    assert stat.S_IMODE(path.stat().st_mode) == 0o400
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert handle.as_path() == str(path)
    assert handle_of(tmp_path / "a").as_path() != str(path)


def test_the_path_goes_with_the_handle(tmp_path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    handle = handle_of(tmp_path / "a")
    folder = Path(handle.as_path()).parent
    assert folder.exists()
    del handle
    gc.collect()
    assert not folder.exists()


def test_an_external_program_can_read_the_path(tmp_path) -> None:
    (tmp_path / "a.txt").write_bytes(b"b\na\n")
    handle = handle_of(tmp_path / "a.txt", suffix=True)
    done = subprocess.run(["sort", handle.as_path()], capture_output=True, check=True)
    assert done.stdout == b"a\nb\n"


@pytest.mark.parametrize("suffix", ["/../../evil", ".a/../../evil", "..\\evil", ".a\0", "evil"])
def test_a_suffix_made_up_by_others_does_not_leave_the_folder(tmp_path, suffix) -> None:
    (tmp_path / "a").write_bytes(b"x")
    content = FileContent(1, blob_id(b"x"), suffix, str(tmp_path / "a"))
    handle = open_file(content, FileHasher(), nothing)
    path = Path(handle.as_path())
    assert path.name == "input"
    assert path.read_bytes() == b"x"


def test_a_full_disk_is_not_taken_for_a_bad_file(tmp_path, monkeypatch) -> None:
    (tmp_path / "a").write_bytes(b"x" * 100)
    handle = handle_of(tmp_path / "a")
    full = os.open("/dev/full", os.O_WRONLY)
    real = Path.open

    def open_full(self, mode="r", *args, **kwargs):
        return os.fdopen(full, "wb", 0) if mode == "wb" else real(self, mode, *args, **kwargs)

    monkeypatch.setattr(Path, "open", open_full)
    with pytest.raises(OSError, match="No space left") as caught:
        handle.as_path()
    assert not isinstance(caught.value, FileInputError)


# --- handles stay where they are ------------------------------------------------------------------


def test_a_handle_is_no_value(tmp_path) -> None:
    (tmp_path / "secret-name").write_bytes(b"x")
    handle = handle_of(tmp_path / "secret-name")
    for leave in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="return its bytes"):
            leave(handle)
    with pytest.raises(NotCacheableError, match="return its bytes") as caught:
        encode({"a": [handle]})
    assert caught.value.path == "$.a[0]"
    assert repr(handle) == "<FileHandle of 1 bytes>"


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_hasher_can_be_pickled(tmp_path, protocol, later) -> None:
    (tmp_path / "a").write_bytes(b"x")
    later.forward(5)
    hasher = FileHasher(tmp_path / "m.sqlite")
    content = hasher(File(tmp_path / "a"))
    again = pickle.loads(pickle.dumps(hasher, protocol))
    assert again(File(tmp_path / "a")) == content


def test_one_handle_serves_several_threads(tmp_path) -> None:
    path = tmp_path / "a"
    path.write_bytes(some_bytes(LONG))
    hasher = FileHasher()
    content = hasher(File(path))
    start = threading.Barrier(4)

    def read(_n):
        start.wait()
        with open_file(content, hasher, nothing).open() as file:
            return hashlib.sha256(file.read()).digest()

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(read, range(4))) == {hashlib.sha256(some_bytes(LONG)).digest()}
