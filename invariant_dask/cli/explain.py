"""`explain`: why a node of a graph would run, be reused or be left alone. Nothing runs."""

from __future__ import annotations

from collections.abc import Sequence

import click

from invariant_dask.cli.inputs import Asked, read_input, takes_a_graph, with_cures
from invariant_dask.cli.outputs import as_json


@click.command()
@takes_a_graph
@click.argument("node")
@click.option(
    "--store", metavar="PATH", help="A folder; by default $INVARIANT_STORE or .invariant."
)
@click.option(
    "--rerun",
    metavar="ID",
    multiple=True,
    help="A node to run whatever is stored; may be repeated.",
)
@click.option("--json", "plain", is_flag=True, help="All of it as JSON.")
def explain(asked: Asked, node: str, store: str | None, rerun: Sequence[str], plain: bool) -> None:
    """Say why NODE would run, what it follows from, and what it was compared with; nothing runs.

    GRAPH is what `run` takes.
    """
    from invariant_dask.session import compile as compile_to_dask

    given = read_input(asked)
    with with_cures():
        compiled = compile_to_dask(given.graph, given.outputs, given.context, store=store)
    told = compiled.explain(node, rerun=rerun)
    if plain:
        click.echo(as_json(told.as_dict(), pretty=True))
    else:
        click.echo("\n".join(_coloured(str(told).splitlines())))


def _coloured(lines: Sequence[str]) -> list[str]:
    """Return the lines as terminals show them, those of a diff as people know them."""
    first, *rest = lines
    in_diff, shown = False, [click.style(first, bold=True)]
    for line in rest:
        in_diff = in_diff or not line
        colour = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1]) if in_diff else None
        shown.append(click.style(line, fg=colour) if colour else line)
    return shown
