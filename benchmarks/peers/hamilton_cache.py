"""Apache Hamilton with its cache as it is by default: results as pickles, metadata in SQLite.

A function becomes a node for each of its parameterizations. The numbers of leaves are inputs of
the execution, because the cache does not see a value that is written into a parameterization.
Timed are building the driver and executing; making the parameterizations is not.
"""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

from benchmarks.peers.peer import Clock, Measured, Peer
from benchmarks.peers.shapes import FUNCTIONS, NAMES, Nodes


def _module_of(nodes: Nodes) -> types.ModuleType:
    """Return a module of parameterized functions, in which node i is called `ni`."""
    from hamilton import ad_hoc_utils
    from hamilton.function_modifiers import parameterize, source, value

    by_arity: dict[int, dict[str, dict[str, Any]]] = {}
    for i, (number, inputs) in enumerate(nodes):
        params = {NAMES[slot]: source(f"n{j}") for slot, j in enumerate(inputs)}
        params["number"] = value(number) if inputs else source(f"number_{i}")
        by_arity.setdefault(len(inputs), {})[f"n{i}"] = params
    functions = [_copy(FUNCTIONS[arity]) for arity in by_arity]
    for function, parameters in zip(functions, by_arity.values()):  # noqa: B905
        parameterize(**parameters)(function)
    return ad_hoc_utils.create_temporary_module(*functions)


def _copy(function: Any) -> Any:
    """Return a copy, which decorators may write on."""
    copied = types.FunctionType(function.__code__, function.__globals__, function.__name__)
    copied.__annotations__ = dict(function.__annotations__)
    return copied


def run(nodes: Nodes, state: Path, every: bool) -> Measured:
    """Run with the cache in a folder."""
    from hamilton import base, driver

    clock = Clock()
    module = _module_of(nodes)
    inputs = {f"number_{i}": number for i, (number, sources) in enumerate(nodes) if not sources}
    clock.lap("describe")
    builder = driver.Builder().with_modules(module).with_adapters(base.DictResult())
    built = builder.with_cache(path=state / "hamilton").build()
    wanted = [f"n{i}" for i in range(len(nodes))] if every else [f"n{len(nodes) - 1}"]
    results = built.execute(wanted, inputs=inputs)
    clock.lap("run")
    return Measured([results[name] for name in wanted], clock.parts, ("describe",))


PEERS = (
    Peer(
        "hamilton", run, "apache-hamilton", "hamilton",
        limits={"*": (10_000, "some milliseconds a node")},
    ),
)  # fmt: skip
