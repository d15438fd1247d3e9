"""What was removed from a store while a run goes on is not reused, nor claimed to be there."""

from __future__ import annotations

import subprocess
import sys

import pytest

from invariant_dask import DiskStore, Graph, MemoryStore, OpRegistry, compile, ref
from invariant_dask.errors import IntegrityError
from invariant_dask.runtime.known import Known

FORGET = "import sys; from invariant_dask import DiskStore; DiskStore(sys.argv[1]).invalidate({!r})"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def registry() -> OpRegistry:
    registry = OpRegistry()
    registry.register("here:one", lambda n: n, version="1")
    registry.register("here:other", lambda n: n, version="1")
    return registry


def removed_by_name(store, *_) -> None:
    store.invalidate("here:one")


def removed_by_digest(store, compiled, *_) -> None:
    compiled.invalidate("n")


def damaged(store, compiled, known, *_) -> None:
    digest = bytes.fromhex(compiled.digests["n"])
    store._set_entry_aside(digest, known.rows[digest], IntegrityError("damaged"))


def grown_old(_store, _compiled, _known, _other, clock) -> None:
    clock.now = 11


def made_room(_store, _compiled, known, other, _clock) -> None:
    other.compute(scheduler="sync")
    known.made(bytes.fromhex(other.digests["n"]))


def count_again(store, compiled, *_) -> None:
    compiled.invalidate("n")
    store.reset_stats()


@pytest.mark.parametrize("kind", ["memory", "disk"])
@pytest.mark.parametrize(
    "remove", [removed_by_name, removed_by_digest, damaged, grown_old, made_room, count_again]
)
def test_what_this_process_removes_is_noticed_at_once(
    remove, kind, registry, tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("INVARIANT_KEEP_SOURCE", "off")  # it would take the room of a result
    clock = Clock()
    if remove is grown_old:
        store = MemoryStore("ttl", ttl=10, clock=clock)
    elif remove is made_room and kind == "memory":
        store = MemoryStore(max_size=1)
    elif kind == "memory":
        store = MemoryStore()
    else:
        store = DiskStore(tmp_path / "s", size_limit=400 if remove is made_room else None)
    compiled, other = (
        compile(single(name), store=store, registry=registry) for name in ("one", "other")
    )
    compiled.compute(scheduler="sync")
    digest = bytes.fromhex(compiled.digests["n"])
    known = Known(compiled.program, [0], store)
    assert known.find(digest) is not None
    remove(store, compiled, known, other, clock)
    assert known.find(digest) is None


def test_counting_from_zero_hides_no_removal(registry) -> None:
    store = MemoryStore(max_size=1)
    for name in ("one", "other"):
        compile(single(name), store=store, registry=registry).compute(scheduler="sync")
    before = store.removals
    assert before > 0
    store.reset_stats()
    assert store.removals == before


def single(name: str) -> Graph:
    g = Graph()
    g.add("n", f"here:{name}", n=1)
    return g


def fan(n: int, followers: int) -> Graph:
    g = Graph()
    g.add("root", "here:root", n=n)
    for i in range(followers):
        g.add(f"d{i}", "here:part", x=ref("root"), i=i)
    g.add("sum", "here:sum", xs=[ref(f"d{i}") for i in range(followers)])
    return g


# With few followers they run together with the root, with many after it.
@pytest.mark.parametrize("followers", [20, 80])
@pytest.mark.parametrize("kind", ["memory", "disk", "other process"])
def test_what_is_invalidated_while_a_run_goes_on_runs_again_and_is_stored(
    kind, followers, tmp_path, monkeypatch
) -> None:
    # What other processes do is looked for all the time.
    monkeypatch.setattr("invariant_dask.runtime.known.FRESH", 0)
    store = MemoryStore() if kind == "memory" else DiskStore(tmp_path / "s")
    registry, parts = OpRegistry(), []

    def root(n):
        if n == 2 and kind == "other process":
            program = FORGET.format("here:part")
            subprocess.run([sys.executable, "-c", program, store.url], check=True)
        elif n == 2:
            assert store.invalidate("here:part") > 0
        return 7

    def part(x, i):
        parts.append(i)
        return x + i

    registry.register("here:root", root, version="1")
    registry.register("here:part", part, version="1")
    registry.register("here:sum", lambda xs: sum(xs), version="1")
    compile(fan(1, followers), store=store, registry=registry).compute(scheduler="sync")
    parts.clear()
    compile(fan(2, followers), store=store, registry=registry).compute(scheduler="sync")
    assert sorted(parts) == list(range(followers))
    assert len(store.recent("here:part", 100)) == followers
