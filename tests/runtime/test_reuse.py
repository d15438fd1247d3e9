"""What is stored is not computed again, and what is computed is what had to be."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
import textwrap
import threading

import dask
import pytest
import sample_ops

from invariant_dask import Decision, Graph, MemoryStore, Node, NullStore, compile, op, ref
from invariant_dask.core.digest import parse_hex
from invariant_dask.errors import ArtifactLostError
from invariant_dask.ops.registry import OpRegistry
from invariant_dask.plan.plan import Reason
from invariant_dask.store.disk import DiskStore


def chain(seed: int = 4, plus: int = 0) -> Graph:
    g = Graph()
    src = g.add("src", sample_ops.source, seed=seed)
    total = g.add("total", sample_ops.total, values=src, plus=plus)
    parity = g.add("parity", sample_ops.parity, value=total)
    g.add("out", sample_ops.double, value=parity)
    return g


def test_second_run_in_a_fresh_process_calls_no_op(tmp_path, calls) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""
        import sys
        sys.path.insert(0, sys.argv[1])
        import sample_ops
        from invariant_dask import Graph, compile
        g = Graph()
        src = g.add("src", sample_ops.source, seed=4)
        g.add("out", sample_ops.total, values=src)
        print(compile(g, store=sys.argv[2]).compute(scheduler="sync"))
        """)
    )
    arguments = [sys.executable, script, sample_ops.__file__.rpartition("/")[0], tmp_path / "s"]
    for expected in (["source", "total"], []):
        calls.clear()
        done = subprocess.run(arguments, check=True, capture_output=True, text=True)
        assert done.stdout == "6\n"
        assert calls.names == expected


def test_ancestors_of_a_stored_output_are_not_needed(tmp_path, calls) -> None:
    store = DiskStore(tmp_path / "s")
    compiled = compile(chain(), store=store)
    compiled.compute(scheduler="sync")
    for node in ("src", "total", "parity"):
        assert compiled.invalidate(node) > 0
    calls.clear()
    again = compile(chain(), store=store)
    assert again.plan().counts()[Decision.RUN] == 0
    assert again.compute(scheduler="sync") == 0
    assert calls.names == []


def test_changed_parameter_reruns_what_depends_on_it_until_results_agree(tmp_path, calls) -> None:
    store = DiskStore(tmp_path / "s")
    assert compile(chain(), store=store).compute(scheduler="sync") == 0
    calls.clear()
    run = compile(chain(plus=2), store=store).run(scheduler="sync")  # parity stays the same
    assert calls.names == ["total", "parity"]
    assert run.ran() == ["total", "parity"]
    assert run.values == {"out": 0}


def test_plan_tells_root_cause_from_consequence(tmp_path) -> None:
    store = DiskStore(tmp_path / "s")
    compile(chain(), store=store).compute(scheduler="sync")
    plan = compile(chain(plus=2), store=store).plan()
    assert plan["total"].causes == ("parameter plus: 0 -> 2",)
    assert plan["parity"].causes == ("follows from total",)
    assert plan["out"].reason is Reason.FOLLOWS
    assert plan["src"].decision is Decision.REUSE
    assert "parameter plus: 0 -> 2" in str(plan)
    assert "parameter plus: 0 -&gt; 2" in plan._repr_html_()
    assert plan.summary() == "3 to run, 1 reused, 0 not looked at"


def test_resolved_digest_reuses_what_was_asked_another_way(tmp_path, calls) -> None:
    store = DiskStore(tmp_path / "s")
    g = Graph(nodes={"out": Node("t:double", {"value": 6})})
    assert compile(g, store=store).compute(scheduler="sync") == 12
    compile(chain(), ["total"], store=store).compute(scheduler="sync")
    g = chain()
    g.add("same", sample_ops.double, value=ref("total"))  # total is 6
    calls.clear()
    compiled = compile(g, ["same"], store=store)
    assert compiled.plan()["same"].reason is Reason.SAME_INPUTS
    assert compiled.compute(scheduler="sync") == 12
    assert calls.names == []
    # The planned entry was written: the next plan needs one look-up and no inputs.
    plan = compile(g, ["same"], store=store).plan()
    assert plan["same"].reason is Reason.STORED
    assert plan["total"].decision is Decision.PRUNED


@pytest.mark.parametrize("scheduler", ["sync", "threads"])
@pytest.mark.parametrize("make_store", [MemoryStore, NullStore], ids=["memory", "null"])
def test_equal_planned_digests_are_one_task(scheduler, make_store, calls) -> None:
    g = Graph()
    src = g.add("src", sample_ops.source, seed=3)
    for name in "abc":
        g.add(name, sample_ops.total, values=src)
    compiled = compile(g, store=make_store())
    assert compiled.compute(scheduler=scheduler) == {"a": 3, "b": 3, "c": 3}
    assert calls.counts == {"source": 1, "total": 1}


def test_equal_resolved_digests_run_once_in_a_process_even_at_once(calls) -> None:
    ready = threading.Barrier(2)
    ops = OpRegistry()

    @ops.op("t:meet", version="1")
    def meet(value, side):
        ready.wait(timeout=30)  # both inputs finish together
        return value

    ops.register("t:double", sample_ops.double)
    g = Graph()
    for side in ("left", "right"):
        met = g.add(side, "t:meet", value=5, side=side)
        g.add(f"double {side}", "t:double", value=met)
    compiled = compile(g, store=MemoryStore(), registry=ops)
    assert len({compiled.digests[node] for node in g}) == 4
    assert set(compiled.compute(scheduler="threads", num_workers=2).values()) == {10}
    assert calls.names == ["double"]


def test_a_lost_blob_is_recomputed_whatever_the_entry(tmp_path, calls) -> None:
    store = DiskStore(tmp_path / "s")
    g = Graph()
    data = g.add("data", sample_ops.array, n=20_000)
    g.add("mean", sample_ops.mean, values=data)

    def mean_twice() -> Graph:
        changed = Graph(nodes=g)
        changed.add("twice", sample_ops.double, value=ref("mean"))
        changed.add("again", sample_ops.vandal, values=ref("data"), more=[])
        return changed

    compile(g, ["data"], store=store).compute(scheduler="sync")
    for entry in ("compute", "plain"):
        shutil.rmtree(tmp_path / "s" / "blobs")
        calls.clear()
        compiled = compile(mean_twice(), ["twice"], store=DiskStore(tmp_path / "s"))
        if entry == "compute":
            assert compiled.compute(scheduler="sync") == 19998
        else:
            assert dask.compute(compiled, scheduler="threads") == (19998,)
        assert calls.counts["array"] == 1


def test_blob_deleted_between_plan_and_load(tmp_path, calls) -> None:
    g = Graph()
    data = g.add("data", sample_ops.array, n=20_000)
    g.add("mean", sample_ops.mean, values=data)

    class Sabotaged(DiskStore):
        """Loses its blobs right after it was asked for the first time."""

        def lookup(self, digests):
            found = super().lookup(digests)
            if found:
                shutil.rmtree(tmp_path / "s" / "blobs", ignore_errors=True)
            return found

    for entry in ("compute", "plain"):
        shutil.rmtree(tmp_path / "s", ignore_errors=True)
        compile(g, ["data"], store=DiskStore(tmp_path / "s")).compute(scheduler="sync")
        calls.clear()
        compiled = compile(g, store=Sabotaged(tmp_path / "s"))
        if entry == "compute":
            assert compiled.compute(scheduler="sync") == 9999
        else:
            assert dask.compute(compiled, scheduler="sync") == (9999,)
        assert calls.names.count("array") >= 1


def damage_all_blobs(root) -> None:
    for path in (root / "blobs").rglob("*"):
        if path.is_file():
            path.chmod(0o644)
            path.write_bytes(bytes(path.stat().st_size))


def test_any_number_of_damaged_artifacts_is_computed_again(tmp_path, calls) -> None:
    g = Graph()
    sources = [g.add(f"src{i}", sample_ops.array, n=5_000 + i) for i in range(40)]
    for source in sources:
        g.add(f"mean of {source.name}", sample_ops.mean, values=source)
    store = DiskStore(tmp_path / "s")
    compile(g, sources, store=store).compute(scheduler="sync")
    for outputs in (sources, None):  # as outputs, and as inputs of what runs
        damage_all_blobs(tmp_path / "s")
        calls.clear()
        values = compile(g, outputs, store=store).compute(scheduler="sync")
        assert len(values) == 40
        assert calls.counts["array"] == 40


def test_frozen_graph_computes_what_turns_out_to_be_damaged_or_gone_again(tmp_path, calls) -> None:
    g = Graph()
    data = g.add("data", sample_ops.array, n=5_000)
    part = g.add("part", sample_ops.joined, parts=[data], plus=1)
    g.add("mean", sample_ops.mean, values=part)
    g.add("kept", sample_ops.source, seed=3)
    store = DiskStore(tmp_path / "s")
    compile(g, [part, "kept"], store=store).compute(scheduler="sync")
    frozen = compile(g, store=store).frozen()
    assert len(frozen.dask) == 4  # mean with what it needs, kept, and the value
    damage_all_blobs(tmp_path / "s")
    store.invalidate("t:source")
    calls.clear()
    assert frozen.compute(scheduler="sync") == {"mean": 2500, "kept": [0, 1, 2]}
    assert calls.counts == {"array": 1, "joined": 1, "mean": 1, "source": 1}


def test_plain_dask_computes_a_long_chain_of_damaged_artifacts_again(tmp_path, calls) -> None:
    g = Graph()
    part = g.add("first", sample_ops.array, n=5_000)
    for i in range(400):
        part = g.add(f"part{i}", sample_ops.joined, parts=[part], plus=i + 1)
    store = DiskStore(tmp_path / "s")
    compile(g, store=store).compute(scheduler="sync")
    damage_all_blobs(tmp_path / "s")
    calls.clear()
    (value,) = dask.compute(compile(g, store=store), scheduler="sync")
    assert value[0] == sum(range(401))
    assert calls.counts == {"array": 1, "joined": 400}


def test_artifact_that_looks_as_if_it_were_there_and_cannot_be_read_is_made_again(
    tmp_path, calls
) -> None:
    class Leaky(DiskStore):
        def _read_blob(self, blob, length):
            return None

    store = Leaky(tmp_path / "s")
    compiled = compile({"x": Node("t:array", {"n": 5_000})}, store=store)
    compiled.compute(scheduler="sync")
    for entry in (compiled.compute, lambda **kw: dask.compute(compiled, **kw)[0]):
        calls.clear()
        assert len(entry(scheduler="sync")) == 5_000
        assert calls.counts["array"] >= 1
    planned = bytes.fromhex(compiled.digests["x"])
    with pytest.raises(ArtifactLostError) as caught:
        store.fetch(store.lookup([planned])[planned].record)
    assert str(caught.value).count("went away") == 1


def test_what_a_stored_handle_is_made_from_adds_little_to_its_pickle(tmp_path) -> None:
    """A handle that is sent brings what it takes to make the artifact again, but within bounds."""
    g = Graph()
    below = [g.add(f"0-{i}", sample_ops.array, n=5_000 + i) for i in range(4)]
    for level in range(1, 6):
        below = [
            g.add(f"{level}-{i}", sample_ops.joined, parts=below, plus=4 * level + i)
            for i in range(4)
        ]
    top = g.add("top", sample_ops.joined, parts=below)
    store = DiskStore(tmp_path / "s")
    compile(g, [top], store=store).compute(scheduler="sync")
    compiled = compile(g, [top], store=store)
    sent = pickle.dumps(dask.get(compiled.dask, f"t:joined-{compiled.digests['top']}"))
    assert len(sent) < 100_000

    # And it does bring it.
    for node in ("top", "5-0", "5-1", "5-2", "5-3"):
        digest = parse_hex(compile(g, store=store).digests[node])
        for blob, _ in store.lookup([digest])[digest].record.parts:
            store._blobs.path_of(blob).unlink()
    assert pickle.loads(sent).value().nbytes > 0


def test_rerun_forces_nodes_and_reuses_what_comes_out_the_same(tmp_path, calls) -> None:
    store = DiskStore(tmp_path / "s")
    compile(chain(), store=store).compute(scheduler="sync")
    calls.clear()
    compiled = compile(chain(), store=store)
    assert compiled.plan(rerun=["total"])["total"].reason is Reason.FORCED
    assert compiled.compute(scheduler="sync", rerun=["total"]) == 0
    assert calls.names == ["total"]


def test_rerun_runs_again_although_the_cluster_still_holds_the_result(
    client, tmp_path, calls
) -> None:
    compiled = compile(chain(), store=DiskStore(tmp_path / "s"))
    held = client.persist(compiled)
    assert held.compute(scheduler=client) == 0
    calls.clear()
    assert compiled.compute(scheduler=client, rerun=["total"]) == 0
    assert calls.names == ["total"]


def test_invalidate_forgets_an_op_or_a_digest(tmp_path, calls) -> None:
    store = DiskStore(tmp_path / "s")
    compiled = compile(chain(), store=store)
    compiled.compute(scheduler="sync")
    assert store.invalidate("t:double") > 0
    calls.clear()
    compile(chain(), store=store).compute(scheduler="sync")
    assert calls.names == ["double"]
    assert store.invalidate(compiled.digests["out"]) > 0
    assert not store.exists(parse_hex(compiled.digests["out"]))


def test_two_clients_of_one_cluster_run_a_node_once(cluster, client, tmp_path, calls) -> None:
    from distributed import Client

    store = DiskStore(tmp_path / "s")
    with Client(cluster, set_as_default=False) as other:
        futures = [c.compute(compile(chain(), store=store)) for c in (client, other)]
        assert [future.result() for future in futures] == [0, 0]
    assert calls.counts == {"source": 1, "total": 1, "parity": 1, "double": 1}


@pytest.mark.parametrize("entry", ["compute", "plain", "frozen"])
def test_nondeterministic_input_that_was_evicted_leaves_no_incoherent_pair(entry, tmp_path) -> None:
    drawn = iter([1, 2, 3])
    ops = OpRegistry()

    @ops.op("t:draw", version="1")
    def draw():
        return next(drawn)

    ops.register("t:double", sample_ops.double)
    ops.register("t:total", sample_ops.total)
    g = Graph()
    x = g.add("x", "t:draw")
    w = g.add("w", "t:double", value=x)
    g.add("y", "t:double", value=w)
    g.add("z", "t:total", values=[x])
    store = DiskStore(tmp_path / "s")
    first = compile(g, ["y"], store=store, registry=ops)
    assert first.compute(scheduler="sync") == 4
    first.invalidate("x")  # and w stays, between x and y
    compiled = compile(g, ["y", "z"], store=store, registry=ops)
    if entry == "compute":
        both = compiled.compute(scheduler="sync")
    elif entry == "frozen":
        both = compiled.frozen().compute(scheduler="sync")
    else:
        (both,) = dask.compute(compiled, scheduler="sync")
    assert both == {"y": 8, "z": 2}


def test_ephemeral_nodes_run_every_time_and_so_does_what_they_feed(tmp_path, calls) -> None:
    g = Graph()
    src = g.add("src", sample_ops.source, seed=3, cache=False)
    g.add("out", sample_ops.total, values=src)
    g.add("kept", sample_ops.source, seed=3)
    store = DiskStore(tmp_path / "s")
    compiled = compile(g, store=store)
    for _ in range(2):
        assert compiled.compute(scheduler="sync") == {"out": 3, "kept": [0, 1, 2]}
    assert calls.counts == {"source": 3, "total": 2}


def test_ephemeral_graph_is_a_snapshot_and_new_in_every_run(calls) -> None:
    values, plus, outputs = [1], [1], ["out", "kept"]
    g = {
        "one": Node("t:total", {"values": values}, cache=False),
        "out": Node("t:pack", {"a": [ref("one"), {"k": ref("plus")}], "b": ref("kept")}),
        "kept": Node("t:double", {"value": 3}),
    }
    compiled = compile(g, outputs, {"plus": plus}, store=MemoryStore())
    before = compiled.digests
    values.append(2)
    plus.append(2)
    outputs.pop()
    del g["kept"]
    expected = {"out": {"a": [1, {"k": [1]}], "b": 6}, "kept": 6}
    runs = [compiled.run(scheduler="sync", rerun=["one"]) for _ in range(2)]
    assert [run.values for run in runs] == [expected, expected]
    assert calls.counts == {"double": 1, "total": 2, "pack": 2}
    drawn = [before, *({n: s.planned.hex() for n, s in _steps(run)} for run in runs)]
    assert len({digests["one"] for digests in drawn}) == 3
    assert len({digests["out"] for digests in drawn}) == 3
    assert len({digests["kept"] for digests in drawn}) == 1


def _steps(run):
    program = run.program
    return [(node, program.steps[index]) for node, index in program.index.items()]


def test_digests_drawn_anew_are_what_compiling_with_that_nonce_gives() -> None:
    from invariant_dask.ops.registry import default_registry
    from invariant_dask.plan.compile import compile_graph

    g = {
        "one": Node("t:total", {"values": [1]}, cache=False),
        "out": Node("t:pack", {"a": [ref("one"), ("x" * 300, ref("one"))], "b": ref("kept")}),
        "kept": Node("t:double", {"value": 3}),
        "last": Node("t:pack", {"a": ref("out")}, deps=["out", "kept"]),
    }
    old, new = (
        compile_graph(g, registry=default_registry(), resolve_file=None, nonce=bytes([n]) * 16)
        for n in (1, 2)
    )
    assert old.renewed(b"\2" * 16) == new != old


def test_inline_op_on_known_values_is_no_task(tmp_path, calls) -> None:
    g = Graph()
    three = g.add("three", "stdlib:identity", value=3)
    g.add("out", sample_ops.double, value=three)
    compiled = compile(g, store=DiskStore(tmp_path / "s"))
    direct = compile({"out": Node("t:double", {"value": 3})}, store=MemoryStore())
    assert compiled.digests == direct.digests
    assert compiled.plan()["three"].decision is Decision.INLINE
    assert compiled.compute(scheduler="sync") == 6


def test_inline_node_asked_for_as_an_output_is_a_task() -> None:
    g = Graph()
    three = g.add("three", "stdlib:identity", value=3)
    g.add("out", sample_ops.double, value=three)
    result = compile(g, ["three", "out"], store=MemoryStore()).compute(scheduler="sync")
    assert result == {"three": 3, "out": 6}


def test_dependency_without_a_marker_orders_and_is_not_identity(tmp_path) -> None:
    order: list[str] = []
    ops = OpRegistry()

    @ops.op("t:log", version="1")
    def log(name):
        order.append(name)
        return name

    def graph(deps):
        return {"z": Node("t:log", {"name": "z"}), "a": Node("t:log", {"name": "a"}, deps)}

    free = compile(graph([]), ["a"], store=MemoryStore(), registry=ops)
    ordered = compile(graph(["z"]), ["a"], store=MemoryStore(), registry=ops)
    assert free.digests["a"] == ordered.digests["a"]
    assert ordered.compute(scheduler="sync") == "a"
    assert order == ["z", "a"]


def test_retries_try_a_failed_op_again(tmp_path, calls) -> None:
    left = [2]
    ops = OpRegistry()

    @ops.op("t:flaky", version="1")
    def flaky():
        left[0] -= 1
        if left[0] >= 0:
            raise ConnectionError("not yet")
        return "done"

    g = {"out": Node("t:flaky", {}, retries=2)}
    run = compile(g, store=MemoryStore(), registry=ops).run(scheduler="threads")
    assert run.values == {"out": "done"}
    assert next(iter(run.outcomes.values())).attempts == 3


def test_op_decorated_in_place_is_used_by_name_and_by_function() -> None:
    @op("t:local-triple", version="1")
    def triple(value):
        return 3 * value

    by_name = compile({"x": Node("t:local-triple", {"value": 2})}, store=MemoryStore())
    by_function = compile({"x": triple.node(value=2)}, store=MemoryStore())
    assert by_name.digests == by_function.digests
    assert by_function.compute(scheduler="sync") == 6


def test_run_reports_only_what_belongs_to_it_while_others_use_dask(calls) -> None:
    other = compile({"other": Node("t:source", {"seed": 9})}, store=MemoryStore())
    compiled = compile(chain(), store=MemoryStore())

    def get(dsk, keys, **options):
        dask.compute(other, scheduler="sync")  # as another thread may, while our callback is set
        return dask.get(dsk, keys, **options)

    run = compiled.run(scheduler=get)
    assert set(run.outcomes) == set(compiled.digests.values())


def test_progress_callback_that_fails_breaks_nothing(calls, caplog) -> None:
    def explode(*_args):
        raise RuntimeError("the display is gone")

    run = compile(chain(), store=MemoryStore()).run(scheduler="sync", progress=explode)
    assert run.values == {"out": 0}
    assert len(calls) == 4
    assert caplog.text.count("the progress callback failed") == 1


def test_resources_and_priority_reach_a_cluster(tmp_path, calls) -> None:
    from distributed import Client, LocalCluster, Worker

    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0"
    ) as plain, Client(plain, set_as_default=False) as client:  # fmt: skip
        special = client.sync(_start_worker, plain.scheduler_address, Worker)
        g = Graph()
        for i in range(6):
            g.add(f"src{i}", sample_ops.source, seed=i, hints={"resources": {"GPU": 1}})
        g.add("last", sample_ops.source, seed=99, hints={"priority": -5, "labels": {"a": "b"}})
        run = compile(g, store=DiskStore(tmp_path / "s")).run(scheduler=client)
        workers = {run.outcomes[compile_digest(g, tmp_path, f"src{i}")].worker for i in range(6)}
        assert workers == {special.address}
        client.sync(special.close)


async def _start_worker(address, worker_class):
    return await worker_class(address, resources={"GPU": 1}, nthreads=1, dashboard=False)


def compile_digest(g, tmp_path, node) -> str:
    return compile(g, store=DiskStore(tmp_path / "s")).digests[node]
