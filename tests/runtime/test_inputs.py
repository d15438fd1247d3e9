"""What ops are handed: files by content, arrays as typed buffers, large literals."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
import sample_ops

from invariant_dask import File, Graph, MemoryStore, Node, compile, ref
from invariant_dask.errors import OpFailedError
from invariant_dask.ops.registry import OpRegistry, op
from invariant_dask.store.disk import DiskStore


@op("f:size")
def size(file, note=""):
    return [file.size, len(file.read_bytes()), file.suffix, note]


@op("f:join")
def join(files):
    return b"".join(f.read_bytes() for f in files)


@op("f:describe")
def describe(array):
    return [str(array.dtype.str), list(array.shape), array.flags.c_contiguous, int(array.sum())]


def schedulers(request, name):
    return request.getfixturevalue("client") if name == "client" else name


@pytest.mark.parametrize("scheduler", ["sync", "processes", "client"])
def test_file_is_its_content(scheduler, tmp_path, request) -> None:
    chosen = schedulers(request, scheduler)
    photo = tmp_path / "photo.JPG"
    photo.write_bytes(b"light" * 10_000)
    store = DiskStore(tmp_path / "s")

    def run(path, **kwargs):
        compiled = compile({"x": size.node(file=File(path, **kwargs))}, store=store)
        done = compiled.run(scheduler=chosen)
        return done.values["x"], len(done.ran())

    assert run(photo) == ([50_000, 50_000, None, ""], 1)
    assert run(photo.rename(tmp_path / "renamed.png")) == ([50_000, 50_000, None, ""], 0)
    photo.write_bytes(b"light" * 10_000)
    assert run(str(photo)) == ([50_000, 50_000, None, ""], 0)
    assert run(photo, suffix=True) == ([50_000, 50_000, ".jpg", ""], 1)
    photo.write_bytes(b"night" * 10_000)
    assert run(photo) == ([50_000, 50_000, None, ""], 1)


@pytest.mark.parametrize("nested", [False, True])
def test_inline_op_is_handed_a_file_as_any_other_op(nested, tmp_path) -> None:
    ops = OpRegistry()

    @ops.op("t:size", inline=True, version="1")
    def size(file):
        (file,) = file if nested else [file]
        return [file.size, type(file).__name__]

    (tmp_path / "photo").write_text("light")
    file = File(tmp_path / "photo")
    g = {
        "size": Node("t:size", {"file": [file] if nested else file}),
        "out": Node("stdlib:identity", {"value": ref("size")}),
    }
    compiled = compile(g, ["out"], store=MemoryStore(), registry=ops)
    assert compiled.compute(scheduler="sync") == [5, "FileHandle"]


def test_files_inside_lists_and_beside_refs(tmp_path) -> None:
    for name in "ab":
        (tmp_path / name).write_text(name)
    g = Graph()
    g.add("x", join, files=[File(tmp_path / "b"), File(tmp_path / "a")])
    assert compile(g, store=MemoryStore()).compute(scheduler="sync") == b"ba"


def test_file_that_changes_after_compiling_is_never_taken_for_what_it_was(tmp_path) -> None:
    photo = tmp_path / "photo"
    photo.write_text("one")
    compiled = compile({"x": join.node(files=[File(photo)])}, store=MemoryStore())
    photo.write_text("two")
    with pytest.raises(OpFailedError, match="not what it was when the graph was compiled"):
        compiled.compute(scheduler="sync")
    assert not compiled.store.exists(bytes.fromhex(compiled.digests["x"]))


def test_file_inputs_show_in_reasons(tmp_path) -> None:
    photo = tmp_path / "photo"
    store = MemoryStore()
    for text in ("one", "three"):
        photo.write_text(text)
        compiled = compile({"x": size.node(file=File(photo))}, store=store)
        plan = compiled.plan()
        compiled.compute(scheduler="sync")
    assert "content of file photo (parameter file): <file of 3 bytes" in plan["x"].causes[0]
    assert "-> <file of 5 bytes" in plan["x"].causes[0]


@pytest.mark.parametrize("count", [6, 60_000])
@pytest.mark.parametrize("scheduler", ["sync", "client"])
def test_arrays_arrive_in_c_order_and_little_endian_whatever_they_were(
    scheduler, count, tmp_path, request
) -> None:
    chosen = schedulers(request, scheduler)
    store = DiskStore(tmp_path / "s")
    plain = np.arange(count, dtype="<i4").reshape(2, -1)
    variants = [
        plain,
        plain.astype(">i4"),
        np.asfortranarray(plain),
        np.repeat(plain, 2, 1)[:, ::2],
    ]
    digests = set()
    for array in variants:
        compiled = compile({"x": describe.node(array=array)}, store=store)
        digests.update(compiled.digests.values())
        expected = ["<i4", [2, count // 2], True, int(plain.sum())]
        assert compiled.compute(scheduler=chosen) == expected
    assert len(digests) == 1


def test_parameters_changed_after_compiling_change_nothing() -> None:
    values = [1, 2]
    compiled = compile({"x": Node("stdlib:sum", {"items": values})}, store=MemoryStore())
    values.append(100)
    assert compiled.compute(scheduler="sync") == 3


@op("f:poke")
def poke(xs, ys=None):
    xs[0].append(9)
    return [xs, ys]


@pytest.mark.parametrize("scheduler", ["sync", "client"])
def test_two_occurrences_of_one_ref_are_two_values(scheduler, tmp_path, request) -> None:
    chosen = schedulers(request, scheduler)
    one = sample_ops.source.node(seed=1)
    graphs = {
        "in one parameter": {"a": one, "x": poke.node(xs=[ref("a"), ref("a")], ys=[])},
        "nested": {"a": one, "x": poke.node(xs=[ref("a"), {"k": (ref("a"),)}], ys=[])},
        "in two parameters": {"a": one, "x": poke.node(xs=[ref("a")], ys=ref("a"))},
        "both": {"a": one, "x": poke.node(xs=[ref("a")], ys=[ref("a")])},
    }
    expected = {
        "in one parameter": [[[0, 9], [0]], []],
        "nested": [[[0, 9], {"k": ([0],)}], []],
        "in two parameters": [[[0, 9]], [0]],
        "both": [[[0, 9]], [[0]]],
    }
    store = DiskStore(tmp_path / "s")
    for name, graph in graphs.items():
        assert compile(graph, store=store).compute(scheduler=chosen) == expected[name], name


def test_ops_run_under_the_fixed_decimal_context() -> None:
    import decimal

    ops = OpRegistry()

    @ops.op("t:precise", version="1")
    def precise(value):
        return value * value

    number = Decimal("1.000000000000000000000000000001")
    with decimal.localcontext(decimal.Context(prec=3)):
        compiled = compile(
            {"x": Node("t:precise", {"value": number})}, store=MemoryStore(), registry=ops
        )
        result = compiled.compute(scheduler="sync")
    assert str(result) == "1.000000000000000000000000000002000000000000000000000000000001"


def test_inexact_decimal_is_an_error_with_a_cure() -> None:
    ops = OpRegistry()

    @ops.op("t:third", version="1")
    def third(value):
        return value / 3

    compiled = compile(
        {"x": Node("t:third", {"value": Decimal(1)})}, store=MemoryStore(), registry=ops
    )
    with pytest.raises(OpFailedError, match="use stdlib:round, a Fraction"):
        compiled.compute(scheduler="sync")
