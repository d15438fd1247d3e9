"""Nobody can change what somebody else sees."""

from __future__ import annotations

import copy

import dask
import numpy as np
import pytest
import sample_ops

from invariant_dask import Graph, MemoryStore, Node, compile, ref
from invariant_dask.core.encode import describe
from invariant_dask.ops.registry import OpRegistry
from invariant_dask.store.disk import DiskStore


def shared() -> Graph:
    g = Graph()
    src = g.add("src", sample_ops.source, seed=3)
    packed = g.add("packed", sample_ops.pack, values=src, nested=[{"a": 1}])
    g.add("vandal", sample_ops.vandal, values=src, more=[packed])
    g.add("total", sample_ops.total, values=src)
    return g


OUTPUTS = ["vandal", "total", "src", "packed"]
EXPECTED = {
    "vandal": 4,
    "total": 3,
    "src": [0, 1, 2],
    "packed": {"nested": [{"a": 1}], "values": [0, 1, 2]},
}


@pytest.mark.parametrize("scheduler", ["sync", "threads", "client", "local_client"])
def test_op_that_changes_its_inputs_changes_nothing(scheduler, tmp_path, request) -> None:
    chosen = request.getfixturevalue(scheduler) if "client" in scheduler else scheduler
    store = DiskStore(tmp_path / "s")
    assert compile(shared(), OUTPUTS, store=store).compute(scheduler=chosen) == EXPECTED
    assert compile(shared(), OUTPUTS, store=store).compute(scheduler=chosen) == EXPECTED


def test_results_refuse_to_change_and_copies_do_not(tmp_path) -> None:
    result = compile(shared(), OUTPUTS, store=MemoryStore()).compute(scheduler="sync")
    for change in (
        lambda: result["src"].append(4),
        lambda: result["packed"].update(a=1),
        lambda: result["packed"]["nested"][0].clear(),
        lambda: result["src"].__setitem__(0, 7),
    ):
        with pytest.raises(TypeError, match="finished artifact"):
            change()
    mine = copy.deepcopy(result)
    mine["packed"]["nested"][0]["a"] = 2
    assert result == EXPECTED


def arrays() -> Graph:
    g = Graph()
    g.add("small", sample_ops.array, n=10)
    g.add("large", sample_ops.array, n=50_000)
    return g


def writers(array: np.ndarray) -> list[object]:
    """Try every way to write into an array; return the errors."""
    errors: list[object] = []

    def attempt(change) -> None:
        try:
            change()
        except (ValueError, TypeError, BufferError) as error:
            errors.append(error)
        else:
            errors.append(None)

    attempt(lambda: array.__setitem__(0, 7.0))
    attempt(lambda: array.fill(7.0))
    attempt(lambda: setattr(array.flags, "writeable", True))
    attempt(lambda: np.frombuffer(array, array.dtype).__setitem__(0, 7.0))
    if array.base is not None:
        attempt(lambda: memoryview(array.base).cast("B").__setitem__(0, 7))
    return errors


@pytest.mark.parametrize("scheduler", ["sync", "client"])
@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
def test_arrays_and_their_bases_cannot_be_written(scheduler, warm, tmp_path, request) -> None:
    chosen = request.getfixturevalue("client") if scheduler == "client" else scheduler
    compiled = compile(arrays(), store=DiskStore(tmp_path / "s"))
    if warm:
        compiled.compute(scheduler="sync")
    for array in compiled.compute(scheduler=chosen).values():
        assert None not in writers(array)
        assert array.tolist() == list(range(len(array)))


def test_op_keeps_no_hold_on_what_it_returned() -> None:
    kept: list[object] = []
    ops = OpRegistry()

    # What it closes over changes, which a declared version has to answer for.
    @ops.op("t:hold", version="1", on_drift="ignore")
    def hold():
        array, values = np.arange(20_000), [1, 2]
        kept.extend([array, values])
        return {"array": array, "values": values}

    compiled = compile({"x": Node("t:hold")}, store=MemoryStore(), registry=ops)
    result = compiled.compute(scheduler="sync")
    kept[0][:] = -1
    kept[1].append(3)
    assert result["values"] == [1, 2]
    assert result["array"][5] == 5
    again = compile({"x": Node("t:hold")}, store=compiled.store, registry=ops).compute()
    assert again["array"][5] == 5


def spoil(value):
    try:
        value.append(9)
    except TypeError:
        return "refused"
    return "spoiled"


def spoil_array(array):
    return [str(error) for error in writers(array)]


def look(value, _after):
    return list(value)


@pytest.mark.parametrize("scheduler", ["threads", "client"])
def test_delayed_function_that_changes_what_it_gets_changes_nothing(
    scheduler, tmp_path, request
) -> None:
    chosen = request.getfixturevalue("client") if scheduler == "client" else scheduler
    compiled = compile(shared(), ["src"], store=DiskStore(tmp_path / "s"))
    spoiled = dask.delayed(spoil)(compiled)
    seen = dask.delayed(look)(compiled, spoiled)
    assert dask.compute(spoiled, seen, scheduler=chosen) == ("refused", [0, 1, 2])


def test_delayed_function_on_another_worker_gets_arrays_it_cannot_write(client, tmp_path) -> None:
    compiled = compile(arrays(), ["large"], store=DiskStore(tmp_path / "s"))
    future = client.compute(compiled)
    assert len(future.result()) == 50_000
    for worker in client.scheduler_info()["workers"]:
        errors = client.submit(spoil_array, future, workers=[worker], pure=False).result()
        assert "None" not in errors, worker


def handing_over(value):
    return lambda: [value]


@pytest.mark.parametrize("cluster_kind", ["client", "local_client"])
def test_array_from_plain_dask_is_a_value_like_any_other(cluster_kind, tmp_path, request) -> None:
    chosen = request.getfixturevalue(cluster_kind)
    ops, store = OpRegistry(), DiskStore(tmp_path / "s")
    got = chosen.compute(compile(arrays(), store=store)).result()
    made = compile(arrays(), store=store).compute(scheduler="sync")
    for name, array in got.items():
        plain = np.array(made[name])
        assert describe([array]) == describe([plain])
        digests = [
            compile(
                {"x": Node("t:pack", {"a": value, "b": ref("c")})}, None, {"c": value}, store=store
            ).digests
            for value in (array, array[:], plain)
        ]
        assert digests[0] == digests[1] == digests[2]

        ops.register(f"t:{name}", handing_over(array), version="1")
        back = compile({"x": Node(f"t:{name}")}, store=store, registry=ops)
        assert back.compute(scheduler="sync")[0].tolist() == plain.tolist()


def test_dictionaries_arrive_in_canonical_order() -> None:
    ops = OpRegistry()

    @ops.op("t:order", version="1")
    def order(mapping):
        return list(mapping)

    for mapping in ({"b": 1, "aa": 2, "a": 3}, {"aa": 2, "a": 3, "b": 1}):
        g = {"x": Node("t:order", {"mapping": mapping})}
        compiled = compile(g, store=MemoryStore(), registry=ops)
        assert compiled.compute(scheduler="sync") == ["a", "b", "aa"]
