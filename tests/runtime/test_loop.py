"""Runs in this process: every step once, in parallel where it pays, Dask where it is asked for."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import dask
import pytest
from dask.callbacks import Callback

from invariant_dask import DiskStore, Graph, MemoryStore, OpRegistry, compile, ref
from invariant_dask.errors import OpFailedError
from invariant_dask.runtime.known import Known


@pytest.fixture
def registry() -> OpRegistry:
    return OpRegistry()


def test_steps_that_take_long_run_in_parallel(registry) -> None:
    meeting = threading.Barrier(3)
    registry.register("here:meet", lambda n: meeting.wait(20) * 0 + n, version="1")
    g = Graph()
    for n in range(3):
        g.add(f"m{n}", "here:meet", n=n)
    values = compile(g, store=MemoryStore(), registry=registry).compute(
        scheduler="threads", num_workers=3
    )
    assert values == {"m0": 0, "m1": 1, "m2": 2}


def test_no_more_threads_work_than_are_allowed(registry) -> None:
    busy, most, lock = [0], [0], threading.Lock()

    def work(n):
        with lock:
            busy[0] += 1
            most[0] = max(most[0], busy[0])
        end = time.monotonic() + 0.01
        while time.monotonic() < end:
            pass
        with lock:
            busy[0] -= 1
        return n

    registry.register("here:work", work, version="1")
    g = Graph()
    for n in range(20):
        g.add(f"w{n}", "here:work", n=n)
    compile(g, store=MemoryStore(), registry=registry).compute(scheduler="threads", num_workers=2)
    assert most[0] <= 2
    most[0] = 0
    compile(g, store=MemoryStore(), registry=registry).compute(scheduler="sync")
    assert most[0] == 1


@pytest.mark.parametrize("scheduler", ["sync", "threads"])
def test_every_step_of_a_wide_and_deep_graph_runs_once(registry, scheduler) -> None:
    runs: list[int] = []

    def mix(xs, salt):
        runs.append(salt)
        return (sum(xs) * 31 + salt) % 1_000_003

    registry.register("here:mix", mix, version="1")
    g, expected, previous, salt = Graph(), {}, [], 0
    for layer in range(20):
        current = []
        for at in range(15):
            salt += 1
            sources = [previous[at], previous[(at * 7) % 15]] if previous else []
            name = f"n{layer}_{at}"
            g.add(name, "here:mix", xs=[ref(source) for source in sources], salt=salt)
            expected[name] = (sum(expected[s] for s in sources) * 31 + salt) % 1_000_003
            current.append(name)
        previous = current
    compiled = compile(g, list(g), store=MemoryStore(), registry=registry)
    assert compiled.compute(scheduler=scheduler) == expected
    assert sorted(runs) == list(range(1, 301))


def test_order_only_dependencies_are_kept(registry) -> None:
    seen: list[str] = []
    registry.register("here:note", lambda name: seen.append(name) or name, version="1")
    g = Graph()
    g.add("b", "here:note", name="b", deps=["c"])
    g.add("a", "here:note", name="a", deps=["b"])
    g.add("c", "here:note", name="c")
    compile(g, ["a", "b", "c"], store=MemoryStore(), registry=registry).compute(scheduler="threads")
    assert seen == ["c", "b", "a"]


@pytest.mark.parametrize("scheduler", ["sync", "threads"])
def test_what_succeeded_before_a_failure_is_stored(registry, scheduler, tmp_path) -> None:
    registry.register("here:fine", lambda n: n, version="1")
    registry.register("here:bad", lambda x: 1 // 0, version="1")
    g = Graph()
    fine = g.add("fine", "here:fine", n=1)
    g.add("bad", "here:bad", x=fine)
    compiled = compile(g, store=DiskStore(tmp_path / "s"), registry=registry)
    with pytest.raises(Exception, match="bad"):
        compiled.compute(scheduler=scheduler)
    assert DiskStore(tmp_path / "s").get(compiled.digests["fine"]) == 1


@pytest.mark.parametrize("scheduler", ["sync", "threads"])
def test_failed_run_lets_go_of_its_artifacts_with_its_error(registry, scheduler) -> None:
    """Without the garbage collector: artifacts are large, and it looks at the number of objects."""
    registry.register("here:large", lambda n: b"x" * n, version="1")
    registry.register("here:bad", lambda x: 1 // 0, version="1")
    g = Graph()
    g.add("bad", "here:bad", x=g.add("large", "here:large", n=100_000))
    compiled = compile(g, store=MemoryStore(max_bytes=10_000), registry=registry)
    gc.collect()
    gc.disable()
    try:
        try:
            compiled.compute(scheduler=scheduler)
        except OpFailedError as error:
            failed = weakref.ref(error)
        assert failed() is None
    finally:
        gc.enable()


def test_run_goes_on_where_no_thread_can_be_started(registry, monkeypatch, caplog) -> None:
    start = threading.Thread.start
    left = 1

    def start_if_possible(thread):
        nonlocal left
        if thread.name.startswith("invariant-dask-worker"):
            if not left:
                raise RuntimeError("can't start new thread")
            left -= 1
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_if_possible)
    registry.register("here:refused", lambda n: refused.wait(20) * 0 + n, version="1")
    g = Graph()
    for n in range(3):
        g.add(f"n{n}", "here:refused", n=n)
    refused = threading.Event()
    monkeypatch.setattr("invariant_dask.runtime.loop.logger.warning", lambda *_: refused.set())
    expected = {"n0": 0, "n1": 1, "n2": 2}
    # First there is one who looks whether help is needed, but no help; then not even that.
    for _ in range(2):
        compiled = compile(g, store=MemoryStore(), registry=registry)
        assert compiled.compute(scheduler="threads", num_workers=3) == expected
        assert refused.is_set()
        refused.clear()


def test_ctrl_c_while_threads_are_started_leaves_none_behind(registry, monkeypatch) -> None:
    start, started = threading.Thread.start, []

    def start_and_interrupt(thread):
        start(thread)
        if thread.name.startswith("invariant-dask-worker"):
            started.append(thread)
            raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", start_and_interrupt)
    with pytest.raises(KeyboardInterrupt):
        program_of(registry, MemoryStore()).compute(scheduler="threads", num_workers=2)
    assert len(started) == 1
    started[0].join(20)
    assert not started[0].is_alive()


def test_callbacks_of_dask_see_its_scheduler_at_work() -> None:
    g = Graph()
    g.add("sum", "stdlib:add", a=g.add("x", "stdlib:add", a=1, b=2), b=3)
    keys: list[str] = []
    compiled = compile(g, store=MemoryStore())
    with Callback(pretask=lambda key, *_: keys.append(key)):
        assert compiled.compute(scheduler="threads") == 6
    assert {key.rpartition("-")[2] for key in keys} == set(compiled.digests.values())


def test_a_pool_of_the_users_does_the_work(registry) -> None:
    registry.register("here:who", lambda: threading.current_thread().name, version="1")
    g = Graph()
    g.add("who", "here:who")
    with ThreadPoolExecutor(1, thread_name_prefix="mine") as pool, dask.config.set(pool=pool):
        who = compile(g, store=MemoryStore(), registry=registry).compute(scheduler="threads")
    assert who.startswith("mine")


def test_a_local_run_does_not_import_distributed(tmp_path) -> None:
    program = (
        "import sys\n"
        "from invariant_dask import Graph, compile\n"
        "g = Graph()\n"
        "g.add('x', 'stdlib:add', a=1, b=2)\n"
        "for scheduler in (None, 'sync', 'threads'):\n"
        f"    c = compile(g, store={str(tmp_path / 's')!r})\n"
        "    assert c.compute(scheduler=scheduler, rerun=['x']) == 3\n"
        "print('distributed' in sys.modules, 'rich' in sys.modules, 'bokeh' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "False False False\n", done.stderr


# --- what is known to be stored ---


def program_of(registry: OpRegistry, store: object, n: int = 3):
    if "here:one" not in registry:
        registry.register("here:one", lambda n: n, version="1")
    g = Graph()
    g.add("one", "here:one", n=n)
    return compile(g, store=store, registry=registry)


def test_what_another_run_of_this_process_publishes_is_noticed_at_once(registry) -> None:
    store = MemoryStore()
    compiled = program_of(registry, store)
    resolved = bytes.fromhex(compiled.digests["one"])
    known = Known(compiled.program, [0], store)
    assert known.find(resolved) is None
    compiled.compute(scheduler="sync")
    found = known.find(resolved)
    assert found is not None
    assert store.fetch(found.record)[0] == b"\x03"


def test_what_another_process_publishes_is_noticed_soon(registry, tmp_path, monkeypatch) -> None:
    store, other = DiskStore(tmp_path / "s"), DiskStore(tmp_path / "s")
    compiled = program_of(registry, store)
    resolved = bytes.fromhex(compiled.digests["one"])
    known = Known(compiled.program, [0], store)
    assert known.find(resolved) is None
    program_of(registry, other).compute(scheduler="sync")
    monkeypatch.setattr("invariant_dask.runtime.known.FRESH", 0)
    assert known.find(resolved) is not None


def test_a_damaged_record_that_was_read_ahead_is_not_believed(registry) -> None:
    store = MemoryStore()
    compiled = program_of(registry, store)
    compiled.compute(scheduler="sync")
    resolved = bytes.fromhex(compiled.digests["one"])
    known = Known(compiled.program, [0], store)
    row = bytearray(known.rows[resolved])
    row[-1] ^= 1
    known.rows[resolved] = bytes(row)
    assert known.find(resolved) is None
    assert store.stats.quarantined == 1


# --- early cutoff ---

LENGTH = 100


def chain(tag: int, op: str = "here:start") -> Graph:
    g = Graph()
    at = g.add("start", op, tag=tag)
    for n in range(LENGTH):
        at = g.add(f"n{n}", "stdlib:add", a=at, b=n)
    return g


@pytest.fixture(params=["sync", "threads", "cluster"])
def anywhere(request) -> object:
    return request.getfixturevalue("client") if request.param == "cluster" else request.param


def test_what_follows_an_artifact_that_stayed_the_same_is_not_submitted(
    registry, tmp_path, anywhere
) -> None:
    registry.register("here:start", lambda tag: tag // 100, version="1")
    store = DiskStore(tmp_path / "s")
    end = LENGTH * (LENGTH - 1) // 2
    assert compile(chain(1), store=store, registry=registry).compute(scheduler=anywhere) == end
    again = compile(chain(2), store=store, registry=registry)
    run = again.run(scheduler=anywhere)
    assert run.values == {f"n{LENGTH - 1}": end}
    assert run.ran() == ["start"]
    assert list(run.outcomes) == [again.digests["start"]]
    # The next time the end is found by its own planned digest.
    assert compile(chain(2), store=store, registry=registry).plan().counts() != {}
    assert compile(chain(2), store=store, registry=registry).run(scheduler="sync").ran() == []


def test_what_follows_an_artifact_that_changed_runs_and_is_right(
    registry, tmp_path, anywhere
) -> None:
    registry.register("here:start", lambda tag: tag, version="1")
    store = DiskStore(tmp_path / "s")
    end = LENGTH * (LENGTH - 1) // 2
    compile(chain(1), store=store, registry=registry).compute(scheduler=anywhere)
    run = compile(chain(2), store=store, registry=registry).run(scheduler=anywhere)
    assert run.values == {f"n{LENGTH - 1}": end + 2}
    assert len(run.ran()) == LENGTH + 1


def test_a_change_in_the_middle_of_a_chain_that_was_walked_over_reuses_what_is_before_it(
    registry, tmp_path
) -> None:
    registry.register("here:start", lambda tag: 0, version="1")
    store = DiskStore(tmp_path / "s")
    compile(chain(1), store=store, registry=registry).compute(scheduler="sync")
    compile(chain(2), store=store, registry=registry).compute(scheduler="sync")
    changed = chain(2)
    changed.add("other", "stdlib:add", a=ref("n50"), b=1000)
    run = compile(changed, ["other"], store=store, registry=registry).run(scheduler="sync")
    assert run.ran() == ["other"]
    assert run.values == {"other": 51 * 50 // 2 + 1000}
