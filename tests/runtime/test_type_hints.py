"""Types that an op's hints declare, from the user's side: refused before it runs, and on return."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pytest

from invariant_dask import File, MemoryStore, OpRegistry, cacheable, compile
from invariant_dask.errors import OpArgumentError, OpError, OpResultError, ParameterError
from invariant_dask.graph.markers import cel, ref
from invariant_dask.graph.node import Node
from invariant_dask.graph.secrets import Secret

SCHEDULERS = ["sync", "threads"]


@cacheable(version="1")
@dataclass(frozen=True)
class Box:
    w: int


calls: list[str] = []


def double(x: int, factor: int = 2) -> int:
    calls.append("double")
    return x * factor


def total(items: tuple[int, ...], box: Box | None = None) -> int:
    calls.append("total")
    return sum(items)


def anything(value):
    return value


def wrong(value) -> int:
    calls.append("wrong")
    return value


def extra(**parts: int) -> dict[str, int]:
    return parts


def shape(image: np.ndarray) -> tuple[int, ...]:
    return image.shape


def size(file: File) -> int:
    return file.size


@pytest.fixture(autouse=True)
def fresh() -> None:
    calls.clear()


@pytest.fixture
def registry() -> OpRegistry:
    made = OpRegistry()
    for function in (double, total, anything, wrong, extra, shape, size):
        made.register(f"h:{function.__name__}", function, version="1", on_drift="ignore")
    made.register("h:same", anything, inline=True, version="1")
    made.register("h:same_int", wrong, inline=True, version="1")
    return made


@pytest.fixture
def run(registry):
    def run(graph, context=None, scheduler="sync", store=None):
        store = MemoryStore() if store is None else store
        return compile(graph, context=context, store=store, registry=registry).compute(
            scheduler=scheduler
        )

    return run


def test_literal_is_refused_while_compiling_with_all_that_helps(registry) -> None:
    with pytest.raises(ParameterError) as caught:
        compile({"n": Node("h:double", {"x": "3"})}, store=MemoryStore(), registry=registry)
    assert str(caught.value) == (
        "node 'n': parameter x must be int, not the str '3'; op 'h:double' says so: pass one, or "
        "change the type hint of the op if it takes both"
    )


@pytest.mark.parametrize(
    ("op", "params"),
    [
        ("h:double", {"x": True}),
        ("h:double", {"x": 1, "factor": Decimal(2)}),
        ("h:total", {"items": [1, "2"]}),
        ("h:total", {"items": [ref("a"), "2"]}),
        ("h:total", {"items": [], "box": {"w": 1}}),
        ("h:extra", {"a": 1, "b": "x"}),
        ("h:shape", {"image": [[1]]}),
        ("h:size", {"file": "photo.jpg"}),
        ("h:double", {"x": "${'a' + 'b'}"}),
        ("h:double", {"x": cel("'ab'")}),
        ("h:double", {"x": ref("side")}),
        ("h:double", {"x": ref("known")}),
    ],
)
def test_what_is_known_is_refused_before_anything_runs(registry, op, params) -> None:
    graph = {
        "a": Node("h:double", {"x": 1}),
        "known": Node("h:same", {"value": "text"}),
        "n": Node(op, params),
    }
    with pytest.raises(ParameterError, match="node 'n': parameter"):
        compile(graph, ["n"], {"side": "wide"}, store=MemoryStore(), registry=registry)
    assert not calls


@pytest.mark.parametrize(
    ("op", "params", "result"),
    [
        ("h:double", {"x": 3}, 6),
        ("h:total", {"items": [1, 2]}, 3),
        ("h:total", {"items": (1, ref("a")), "box": Box(1)}, 3),
        ("h:total", {"items": [], "box": None}, 0),
        ("h:extra", {"a": 1}, {"a": 1}),
        ("h:shape", {"image": np.zeros((2, 3))}, (2, 3)),
        ("h:double", {"x": "${a + 1}"}, 6),
    ],
)
def test_what_fits_runs(run, op, params, result) -> None:
    graph = {"a": Node("h:double", {"x": 1}), "n": Node(op, params)}
    out = run({**graph, "end": Node("h:anything", {"value": ref("n")}, deps=["n", "a"])})
    assert out == result


def test_file_fits_what_is_hinted_as_file(run, tmp_path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert run({"n": Node("h:size", {"file": File(tmp_path / "a")})}) == 3


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("cache", [True, False])
def test_argument_from_upstream_is_refused_before_the_op_is_called(run, scheduler, cache) -> None:
    graph = {
        "up": Node("h:anything", {"value": [1, "x"]}),
        "n": Node("h:total", {"items": ref("up")}, cache=cache, retries=2),
    }
    with pytest.raises(OpArgumentError) as caught:
        run(graph, scheduler=scheduler)
    assert (caught.value.node, caught.value.op) == ("n", "h:total")
    assert "did not run: parameter items[1] must be int, not the str 'x'" in str(caught.value)
    assert not calls


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_result_is_refused_before_it_is_stored(run, registry, scheduler) -> None:
    store = MemoryStore()
    graph = {"n": Node("h:wrong", {"value": "text"}, retries=3)}
    for _ in range(2):
        with pytest.raises(OpResultError) as caught:
            run(graph, scheduler=scheduler, store=store)
    assert "returned what its type hint does not allow: result must be int, not the str" in str(
        caught.value
    )
    assert calls == ["wrong", "wrong"], "it was stored, or tried again"
    assert len(compile(graph, store=store, registry=registry).plan().run) == 1


def test_inline_op_that_returns_another_type_fails_in_its_task(run) -> None:
    graph = {
        "same": Node("h:same_int", {"value": "text"}),
        "n": Node("h:anything", {"value": ref("same")}),
    }
    with pytest.raises(OpResultError, match=r"'same'.*result must be int"):
        run(graph)


def test_secret_is_told_by_its_type_alone(run) -> None:
    graph = {"n": Node("h:double", {"x": ref("token")})}
    with pytest.raises(ParameterError, match="not a str") as caught:
        run(graph, context={"token": Secret("hunter2")})
    assert "hunter2" not in str(caught.value)
    graph = {
        "up": Node("h:anything", {"value": ref("token")}),
        "n": Node("h:wrong", {"value": ref("token")}),
    }
    with pytest.raises(OpError) as failed:
        run(graph, context={"token": Secret("hunter2")})
    assert "hunter2" not in str(failed.value)


def test_hints_are_no_part_of_the_identity() -> None:
    def hinted(x: int) -> int:
        return x

    bare = OpRegistry()
    exec("def hinted(x):\n    return x", namespace := {"__name__": __name__})
    bare.register("h:one", namespace["hinted"], version="1")
    full = OpRegistry()
    full.register("h:one", hinted, version="1")
    graph = {"n": Node("h:one", {"x": 1})}
    one, two = (compile(graph, store=MemoryStore(), registry=each).digests for each in (bare, full))
    assert one == two


SCRIPT = """
from __future__ import annotations
from decimal import Decimal
from typing import TYPE_CHECKING
from distributed import Client, LocalCluster
from invariant_dask import Graph, compile, op
from invariant_dask.errors import OpArgumentError
if TYPE_CHECKING:
    from nowhere import Ghost

@op("script:any")
def anything(x):
    return x

@op("script:half")
def half(x: Decimal | None, ghost: Ghost | None = None):
    return x

if __name__ == "__main__":
    g = Graph()
    up = g.add("up", "script:any", x="text")
    g.add("n", "script:half", x=up)
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as c, Client(c):
        try:
            compile(g).compute()
        except OpArgumentError as error:
            print("refused:", error)
"""


def test_hints_of_a_script_are_checked_on_workers_too(tmp_path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "refused: node 'n'" in done.stdout, done.stderr
    assert "parameter x must be decimal.Decimal | None, not the str 'text'" in done.stdout
