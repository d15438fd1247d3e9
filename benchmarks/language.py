"""Measure the language: what an expression costs, and what subgraphs cost against nodes.

    python -m benchmarks.language [--what expressions,graphs,subgraphs] [--nodes N] [--repeat R]

`expressions`: microseconds to evaluate one, compiled before, once per node for N nodes with
values of their own; the median of R rounds in which libraries take turns. Values go in and come
out as plain Python, as an op needs them. A library that is not installed is said to be absent, and
a result other than ours is shown. `graphs`: what a run of N nodes costs more for each node with an
expression in place of a reference. `subgraphs`: N nodes in subgraphs of 50 against the same nodes
written flat, compiled in turns. All times are of the processor, in one thread.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Any

from invariant_dask import Graph, MemoryStore, Node, SubGraphNode, cel, compile, ref
from invariant_dask.graph.expressions import parse

Values = dict[str, Any]
Evaluate = Callable[[Values], Any]
Prepare = Callable[[str], Evaluate]

# Expressions, and the values that node number `i` has for their names.
EXPRESSIONS: dict[str, Callable[[int], Values]] = {
    "x": lambda i: {"x": i},
    "x + y": lambda i: {"x": i, "y": 7},
    "min(x, y) * 2": lambda i: {"x": i, "y": 7},
    'd.width / 2 > 10 ? "a" : "b"': lambda i: {"d": {"width": i}},
    "items.map(i, i * 2)": lambda i: {"items": [i, 2, 3]},
    's + "_px"': lambda i: {"s": str(i)},
    'decimal(x) * decimal("0.75")': lambda i: {"x": i},
}
OTHERS = 1_000
"""How many nodes others evaluate at most in a round: some take a millisecond each."""
INSIDE = 50
"""How many nodes a subgraph has."""


def ours(text: str) -> Evaluate:
    """Prepare an expression of ours."""
    return parse(text).evaluate


def upstream(text: str) -> Evaluate:
    """Prepare one of invariant-core, which parses each time."""
    from invariant.expressions import _evaluate_cel

    return lambda values: _evaluate_cel(text, values)


def _celpy(runner: str) -> Prepare:
    def prepare(text: str) -> Evaluate:
        import celpy
        from celpy.celparser import CELParser
        from invariant.expressions import (
            _decimal_function,
            _max_function,
            _min_function,
            _value_to_cel,
        )

        functions = {"decimal": _decimal_function, "min": _min_function, "max": _max_function}
        # The parser is one for the process, and makes the trees of the runner that came first.
        parser, CELParser.CEL_PARSER = CELParser.CEL_PARSER, None
        environment = celpy.Environment(runner_class=getattr(celpy, runner))
        # Those that come from elsewhere do not work with what `CompiledRunner` generates.
        used = {name: each for name, each in functions.items() if f"{name}(" in text}
        given = {"functions": used} if used else {}
        program = environment.program(environment.compile(text), **given)
        CELParser.CEL_PARSER = parser
        return lambda values: program.evaluate({k: _value_to_cel(v) for k, v in values.items()})

    return prepare


def rust(text: str) -> Evaluate:
    """Prepare one of common-expression-language, in Rust."""
    import cel as library

    functions = {"decimal": Decimal, "min": min, "max": max}
    program = library.compile(text)
    return lambda values: program.execute(library.Context(variables=values, functions=functions))


def google(text: str) -> Evaluate:
    """Prepare one of cel-expr-python, in C++."""
    from cel_expr_python import cel as library

    any_ = library.Type.DYN

    def declared(name: str, count: int, function: Callable[..., Any]) -> Any:
        overload = library.Overload(f"{name}_any", any_, [any_] * count, False, function)
        return library.FunctionDecl(name, [overload])

    functions = [declared("min", 2, min), declared("max", 2, max), declared("decimal", 1, Decimal)]
    environment = library.NewEnv(
        variables=dict.fromkeys(["x", "y", "d", "items", "s"], any_),
        extensions=[library.CelExtension("ours", functions)],
    )
    program = environment.compile(text)
    return lambda values: program.eval(data=values).plain_value()


LIBRARIES: dict[str, Prepare] = {
    "ours": ours,
    "invariant-core": upstream,
    "celpy, interpreted": _celpy("InterpretedRunner"),
    "celpy, compiled": _celpy("CompiledRunner"),
    "common-expression-language": rust,
    "cel-expr-python": google,
}


def expressions(nodes: int, repeat: int) -> dict[str, dict[str, str]]:
    """Return what each library takes for each expression, as cells of a table."""
    return {text: _row(text, nodes, repeat) for text in EXPRESSIONS}


def _row(text: str, nodes: int, repeat: int) -> dict[str, str]:
    values = [EXPRESSIONS[text](i) for i in range(nodes)]
    expected = [ours(text)(each) for each in values]
    cells: dict[str, str] = {}
    ready: dict[str, Evaluate] = {}
    for name, prepare in LIBRARIES.items():
        try:
            ready[name] = evaluate = prepare(text)
            found = evaluate(values[3])
        except ImportError:
            cells[name] = "absent"
        except Exception as error:  # noqa: BLE001 (whatever it fails with is its result)
            cells[name] = type(error).__name__
        else:
            # Their values are of types of their own, which compare equal.
            if not found == expected[3] or isinstance(found, float):  # noqa: SIM201
                cells[name] = f"gives {found!r:.20}"
        if name in cells:
            ready.pop(name, None)
    rounds: dict[str, list[float]] = {name: [] for name in ready}
    for _ in range(repeat):
        for name, evaluate in ready.items():
            some = values if name == "ours" else values[:OTHERS]
            rounds[name].append(_seconds(evaluate, some) / len(some) * 1e6)
    if [ready["ours"](each) for each in values] != expected:
        raise SystemExit(f"{text}: ours is not always the same")
    best = statistics.median(rounds["ours"])
    for name, times in rounds.items():
        median = statistics.median(times)
        cells[name] = f"{median:.1f}" if name == "ours" else f"{median:.1f} ({median / best:.1f}x)"
    return cells


def _seconds(evaluate: Evaluate, values: Iterable[Values]) -> float:
    started = time.process_time()
    for each in values:
        evaluate(each)
    return time.process_time() - started


def graphs(nodes: int, repeat: int) -> tuple[float, float, float]:
    """Return microseconds a node with references and with expressions, and the median difference.

    Expressions are evaluated where the op runs: what they read is known by then only.
    """

    def of(parameter: Any) -> Graph:
        graph = Graph("g")
        graph.add("x", "stdlib:add", a=1, b=2)
        for i in range(nodes):
            graph.add(f"n{i}", "stdlib:add", a=parameter, b=i)
        return graph

    taken: dict[str, list[float]] = {"plain": [], "expression": []}
    for _ in range(repeat):
        for name, parameter in (("plain", ref("x")), ("expression", cel("x + x * 2"))):
            outputs = [f"n{i}" for i in range(nodes)]
            compiled = compile(of(parameter), outputs, store=MemoryStore("unbounded"))
            gc.collect()
            started = time.process_time()
            found = compiled.compute(scheduler="sync")
            taken[name].append((time.process_time() - started) / nodes * 1e6)
            first = 3 if name == "plain" else 9
            if found != {f"n{i}": first + i for i in range(nodes)}:
                raise SystemExit(f"{name}: wrong values")
    plain, expression = taken["plain"], taken["expression"]
    more = [b - a for a, b in zip(plain, expression, strict=True)]
    return statistics.median(plain), statistics.median(expression), statistics.median(more)


def subgraphs(nodes: int, repeat: int) -> tuple[float, float, float]:
    """Return microseconds a node flat and in subgraphs, and the median of their ratios."""
    count = max(1, nodes // INSIDE)
    shapes = {"flat": _flat(count), "subgraphs": _nested(count)}
    outputs = [f"s{i}" for i in range(count)]
    taken: dict[str, list[float]] = {name: [] for name in shapes}
    digests = {}
    for _ in range(repeat):
        for name, graph in shapes.items():
            gc.collect()
            started = time.process_time()
            compiled = compile(graph, outputs, store=MemoryStore())
            taken[name].append((time.process_time() - started) / (count * INSIDE) * 1e6)
            known = compiled.digests  # made anew each time
            digests[name] = [known[output] for output in outputs]
    if digests["flat"] != digests["subgraphs"]:
        raise SystemExit("subgraphs have other digests than the same nodes written flat")
    flat, inside = taken["flat"], taken["subgraphs"]
    ratios = [b / a for a, b in zip(flat, inside, strict=True)]
    return statistics.median(flat), statistics.median(inside), statistics.median(ratios)


def _flat(count: int) -> dict[str, Node]:
    graph = {"x": Node("stdlib:add", {"a": 0, "b": 1})}
    for i in range(count):
        before = "x"
        for j in range(INSIDE):
            last = f"s{i}" if j == INSIDE - 1 else f"s{i}.{j}"
            graph[last] = Node("stdlib:add", {"a": ref(before), "b": i * INSIDE + j})
            before = last
    return graph


def _nested(count: int) -> dict[str, Node | SubGraphNode]:
    graph: dict[str, Node | SubGraphNode] = {"x": Node("stdlib:add", {"a": 0, "b": 1})}
    for i in range(count):
        inner = {
            str(j): Node(
                "stdlib:add", {"a": ref(str(j - 1) if j else "given"), "b": i * INSIDE + j}
            )
            for j in range(INSIDE)
        }
        graph[f"s{i}"] = SubGraphNode({"given": ref("x")}, ["x"], inner, str(INSIDE - 1))
    return graph


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.language")
    parser.add_argument("--what", default="expressions,graphs,subgraphs")
    parser.add_argument("--nodes", type=int, help="10,000, and 100,000 for subgraphs")
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args(arguments)
    what = options.what.split(",")
    if "expressions" in what:
        # The grammar's first use, of which neither side should pay.
        with suppress(ImportError), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            upstream("1 + 1")({})
        print("| microseconds | " + " | ".join(LIBRARIES) + " |\n|---|" + "---:|" * len(LIBRARIES))
        for text, cells in expressions(options.nodes or 10_000, options.repeat).items():
            print(f"| `{text}` | " + " | ".join(cells[name] for name in LIBRARIES) + " |")
            sys.stdout.flush()
    if "graphs" in what:
        plain, expression, more = graphs(options.nodes or 10_000, options.repeat)
        print(f"run: {plain:.1f} us a node, {expression:.1f} with an expression: {more:+.1f}")
    if "subgraphs" in what:
        flat, inside, ratio = subgraphs(options.nodes or 100_000, options.repeat)
        print(f"compile: {flat:.1f} us a node flat, {inside:.1f} in subgraphs: {ratio:.2f}x")


if __name__ == "__main__":
    main()
