"""The commands that look at graphs as documents: `validate` and `dump`. Nothing runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from invariant_dask.cli.inputs import Asked, Input, read_input, takes_a_graph, with_cures
from invariant_dask.cli.outputs import OutputError, Target, told
from invariant_dask.errors import InvariantError


@click.command()
@takes_a_graph
def validate(asked: Asked) -> None:
    """Load and compile a graph, and count what is in it; nothing runs, no store is opened.

    GRAPH is what `run` takes. All that no other node depends on is compiled, unless --pick says
    what; context values that are needed have to be given. The exit code is 1 if the graph is not
    valid.
    """
    try:
        given = read_input(asked)
        # The default output of a document is not all of it.
        compiled = _compile(given, asked.picks or None)
    except InvariantError as error:
        raise OutputError(told(error)) from error
    for line in _counts(given, compiled):
        click.echo(line)


@click.command()
@takes_a_graph
@click.option("--data-uri", is_flag=True, help="As a data URI, context values included.")
@click.option("--pretty", is_flag=True, help="Indent JSON.")
@click.option(
    "-o", "file", metavar="FILE", type=click.Path(path_type=Path, allow_dash=True),
    help="Write to a file, which is complete or not there at all.",
)  # fmt: skip
def dump(asked: Asked, data_uri: bool, pretty: bool, file: Path | None) -> None:
    """Write a graph as a JSON document; equal graphs give the same bytes.

    GRAPH is what `run` takes. --pick names the document's output.
    """
    import json

    from invariant_dask.graph.documents import dump_data_uri, dump_graph
    from invariant_dask.graph.resolve import check_graph

    if data_uri and pretty:
        raise click.UsageError("--pretty is for JSON")
    if len(asked.picks) > 1:
        raise click.UsageError("a document has one output; give one --pick")
    target = Target(None if file is None or str(file) == "-" else file, pretty=pretty)
    target.check()
    given = read_input(asked)
    output = given.outputs[0] if given.outputs else None
    graph = check_graph(given.graph) if given.graph or asked.is_python else given.graph
    if data_uri:
        target.write_text(dump_data_uri(graph, output, given.context))
        return
    text = dump_graph(graph, output)
    only_here = sorted(set(_only_here(json.loads(text)["graph"])))
    if only_here:
        click.echo(f"invariant-core cannot read all of it: {', '.join(only_here)}", err=True)
    if given.context:
        names = ", ".join(sorted(given.context))
        click.echo(f"not in the document: context values {names}; --data-uri keeps them", err=True)
    if pretty:
        target.write_json(json.loads(text))
    else:
        target.write_text(text)


def _only_here(obj: Any) -> Iterator[str]:
    """Yield what a document holds that the original format has not."""
    if isinstance(obj, list):
        for item in obj:
            yield from _only_here(item)
    elif isinstance(obj, dict):
        if isinstance(obj.get("$ref"), list):
            yield "items of artifacts ($ref with a list)"
        if obj.get("kind") == "node" and "hints" in obj:
            yield "hints"
        if obj.get("kind") == "node" and obj.get("cache") == "volatile":
            yield 'cache "volatile"'
        for item in obj.values():
            yield from _only_here(item)


def _compile(given: Input, outputs: tuple[str, ...] | None) -> Any:
    from invariant_dask.session import compile as compile_to_dask
    from invariant_dask.store.null import NullStore

    with with_cures():
        return compile_to_dask(given.graph, outputs, given.context, store=NullStore())


def _counts(given: Input, compiled: Any) -> list[str]:
    from invariant_dask.graph.resolve import check_graph

    program = compiled.program
    kinds = Counter(_kind(vertex) for vertex in check_graph(given.graph).values())
    vertices = ", ".join(_count(n, what) for what, n in sorted(kinds.items()))
    packages = sorted({step.bound.op.name.partition(":")[0] for step in program.steps})
    nodes = _count(len(program.index) + len(program.inlined), "node")
    lines = [
        f"{given.name}: valid",
        f"in the graph: {vertices}",
        f"compiled: {nodes}, {len(program.steps)} distinct, {len(program.inlined)} inline",
        f"outputs: {', '.join(given.outputs or program.outputs)}",
    ]
    if packages:
        lines.append(f"ops of: {', '.join(packages)}")
    if program.open:
        names = ", ".join(switch.name for switch in program.open)
        lines.append(f"decided when it runs: {names}")
    return lines


def _kind(vertex: object) -> str:
    return {"SubGraphNode": "subgraph", "SwitchNode": "switch"}.get(type(vertex).__name__, "node")


def _count(number: int, what: str) -> str:
    plural = what + ("es" if what.endswith("ch") else "s")
    return f"{number} {what if number == 1 else plural}"
