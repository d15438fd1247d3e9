"""The bars: what has to be reached, measured and compared.

Only ratios within one round and sums that a user would feel count. Where it is open what to put
into a ratio, it is what makes it harder: compiling counts as part of a cold run, and making the
raw graph does not count as part of bare Dask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import Any

from benchmarks.peers.lab import Bar, Lab, NoNumberError, copied, folder
from benchmarks.peers.rounds import Cell
from benchmarks.peers.shapes import SHAPES
from benchmarks.peers.startup import startup
from benchmarks.peers.tables import digits

SMALL = 10_000
LARGE = 100_000


def at_most(number: int, what: str, limit: float, value: float, unit: str, more: str = "") -> Bar:
    """Return a bar that a value must not exceed."""
    return Bar(
        number, what, f"<= {limit:g}{unit}", f"{digits(value)}{unit}{more}", met=value <= limit
    )


def after_compile(cell: Cell) -> float:
    """Return seconds of a run without those of compiling."""
    return cell.seconds[0] - cell.details[0]["compile"]


def graphs(lab: Lab) -> Iterator[Bar]:
    """1: compiling and making the Dask graph."""
    found: dict[str, list[dict[str, Any]]] = {shape: [] for shape in SHAPES}
    for _ in lab.rounds:
        for shape in SHAPES:
            found[shape].append(lab.probe("submit", shape=shape, nodes=LARGE))

    def worst(part: str) -> tuple[float, str]:
        if not all(part in each for each in found["chain"]):
            raise NoNumberError(f"the stretch {part!r} could not be measured")
        return max(
            (median(each[part] / each["size"] for each in found[shape]) * 1e6, f" ({shape})")
            for shape in SHAPES
        )

    name = f"{LARGE:,} nodes, worst shape: "
    value, shape = worst("compile")
    described = f"{shape}; describing it {digits(worst('describe')[0])} before"
    yield at_most(1, name + "compile", 15, value, " us/node", described)
    value, shape = worst("build")
    yield at_most(1, name + "Dask graph of a plan", 12, value, " us/node", shape)
    value, shape = worst("complete")
    yield at_most(1, name + "complete Dask graph", 12, value, " us/node", shape)
    value, shape = worst("submit")
    before = f"{digits(value)} us/node{shape}"
    yield Bar(1, name + "all between compile and get", "", before, met=None)
    if lab.full:
        told = lab.probe("memory", shape="diamond", nodes=1_000_000)
        more = f"; kept {told['kept'] / 1e9:.2f} GB, user's graph {told['graph'] / 1e9:.2f} GB"
        name = "1,000,000 nodes: peak memory of compiling, above the graph"
        yield at_most(1, name, 1.1, told["peak"] / 1e9, " GB", more)


def warm_one(lab: Lab) -> Iterator[Bar]:
    """2: one output of a large graph that is stored."""
    with folder() as state:
        lab.cell("ours/disk", "fan", LARGE, "cold", state)
        cells = [lab.cell("ours/disk", "fan", LARGE, "warm", state) for _ in lab.rounds]
    name = f"warm, one output of {LARGE:,}: "
    yield at_most(2, name + "all but compile", 0.1, median(map(after_compile, cells)), " s")
    lookups = {cell.details[0]["digests asked"] for cell in cells}
    yield at_most(2, name + "look-ups", 1, max(lookups), "")


def warm_every(lab: Lab) -> Iterator[Bar]:
    """3: every node of a graph that is stored."""
    names = ("ours/disk", "diskcache.memoize")
    found: dict[str, list[Cell]] = {name: [] for name in names}
    with folder() as state:
        for name in names:
            (state / name).mkdir(parents=True)
            lab.cell(name, "fan", SMALL, "cold", state / name)
        for _ in lab.rounds:
            for name in names:
                found[name].append(lab.cell(name, "fan", SMALL, "all", state / name))
    ours, theirs = found.values()
    name = f"warm, every node of {SMALL:,}: "
    value = median(after_compile(cell) / cell.size for cell in ours) * 1e6
    yield at_most(3, name + "all but compile", 15, value, " us/node")
    yield at_most(3, name + "total to diskcache", 1, ratio(ours, theirs), "x")


def ratio(ours: Sequence[Cell], theirs: Sequence[Cell]) -> float:
    """Return the median of the ratios within each round."""
    return median(a.seconds[0] / b.seconds[0] for a, b in zip(ours, theirs, strict=True))


def _ratios(lab: Lab, shape: str, count: int, names: Sequence[str]) -> dict[str, float]:
    """Return the ratios of a cold run of ours to those of others, which take turns with it."""
    found: dict[str, list[Cell]] = {name: [] for name in ("ours/disk", *names)}
    for _ in lab.rounds:
        for name, cells in found.items():
            cells.append(lab.fresh(name, shape, count))
    return {name: ratio(found["ours/disk"], found[name]) for name in names}


def cold(lab: Lab) -> Iterator[Bar]:
    """4: nothing stored, no cluster, everything persisted."""
    others = {"dask.delayed": 1.0, "diskcache.memoize": 0.5, "invariant-core/disk": 0.5}
    for shape in SHAPES:
        names = ["dask.get", *(others if shape == "fan" else ())]
        found = _ratios(lab, shape, SMALL, names)
        yield at_most(
            4, f"cold, sync, disk, {SMALL:,} {shape}: to dask.get", 2, found["dask.get"], "x"
        )
        for name, limit in others.items():
            if name in found:
                yield at_most(4, f"the same {shape}: to {name}", limit, found[name], "x")
    count = SMALL if lab.full else 2_000
    found = _ratios(lab.slowed(1.0), "fan", count, ["dask.get"])
    yield at_most(4, f"cold, {count:,} ops of 1 ms: to dask.get", 1.1, found["dask.get"], "x")


def one_leaf(lab: Lab) -> Iterator[Bar]:
    """5: one leaf changed."""
    cells = []
    with folder() as state:
        lab.cell("ours/disk", "fan", SMALL, "cold", state)
        for _ in lab.rounds:
            with copied(state) as copy:
                cells.append(lab.cell("ours/disk", "fan", SMALL, "changed", copy))
    value = median(map(after_compile, cells)) * 1e3
    yield at_most(5, f"one leaf of a fan of {SMALL:,} changed: all but compile", 20, value, " ms")


def on_cluster(lab: Lab) -> Iterator[Bar]:
    """6: fine-grained nodes on a cluster."""
    pairs = [
        (lab.fresh("ours/cluster", "fan", SMALL), lab.fresh("dask/cluster", "fan", SMALL))
        for _ in lab.rounds
    ]
    value = ratio(*zip(*pairs, strict=True))
    more = "; {} and {} us/node".format(
        *(digits(median(c.micros for c in cells)) for cells in zip(*pairs, strict=True))
    )
    yield at_most(6, f"cluster, fan of {SMALL:,}: to bare Dask", 1.25, value, "x", more)


def cutoff(lab: Lab) -> Iterator[Bar]:
    """8: a first node that is edited and produces the same."""
    for scheduler in ("threads", "cluster"):
        ratios = []
        rounds = lab.rounds if scheduler == "threads" or lab.full else range(1)
        for _ in rounds:
            with folder() as state:
                job = {"nodes": SMALL, "scheduler": scheduler, "state": str(state)}
                first, then = (lab.probe("cutoff", label=label, **job) for label in ("a", "b"))
            ratios.append(_both(then) / _both(first))
        more = f"; {digits(_both(then))} s, cold {digits(_both(first))} s"
        if scheduler == "threads":
            more += f"; {then['puts']} artifacts put"
        name = f"early cutoff, chain of {SMALL:,}, {scheduler}: to cold"
        yield at_most(8, name, 0.3, median(ratios), "x", more)


def _both(told: dict[str, Any]) -> float:
    return float(told["compile"] + told["compute"])


BARS: dict[int, Callable[[Lab], Iterator[Bar]]] = {
    1: graphs,
    2: warm_one,
    3: warm_every,
    4: cold,
    5: one_leaf,
    6: on_cluster,
    7: startup,
    8: cutoff,
}
