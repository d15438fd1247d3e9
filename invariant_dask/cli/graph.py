"""The command `graph`: a picture of what a run would do. Nothing runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from invariant_dask.cli.inputs import Asked, read_input, takes_a_graph, with_cures
from invariant_dask.cli.outputs import OutputError, Target
from invariant_dask.errors import GraphvizError, PictureError

if TYPE_CHECKING:
    from invariant_dask.view.grouping import Detail


@click.command()
@takes_a_graph
@click.option(
    "-o", "file", metavar="FILE", required=True,
    type=click.Path(path_type=Path, allow_dash=True),
    help="The file to write, complete or not there at all; - for standard output.",
)  # fmt: skip
@click.option(
    "--output-format",
    type=click.Choice(["html", "svg", "png", "dot"]),
    help="By default what the suffix of the file says.",
)
@click.option(
    "--detail",
    type=click.Choice(["auto", "nodes", "ops"]),
    default="auto",
    show_default=True,
    help="nodes: every node. ops: groups of nodes by op. auto: groups if there are more than 500.",
)
@click.option(
    "--rerun", metavar="ID", multiple=True,
    help="A node to run whatever is stored; may be repeated.",
)  # fmt: skip
@click.option(
    "--store", metavar="PATH", help="A folder; by default $INVARIANT_STORE or .invariant."
)
def graph(
    asked: Asked,
    file: Path,
    output_format: str | None,
    detail: Detail,
    rerun: tuple[str, ...],
    store: str | None,
) -> None:
    """Draw a graph, with what a run would do; nothing runs.

    GRAPH is what `run` takes. An .html file is a page to move around in; .svg and .png files are
    drawn by Graphviz, and .dot files are in its language. The exit code is 1 if Graphviz is needed
    and not there.
    """
    from invariant_dask.session import compile as compile_to_dask
    from invariant_dask.view.drawing import format_of

    target = Target(None if str(file) == "-" else file)
    target.check()
    if target.file is None and output_format is None:
        raise click.UsageError("-o -: say the format by --output-format")
    try:
        chosen = format_of(target.file, output_format)
        given = read_input(asked)
        with with_cures():
            compiled = compile_to_dask(given.graph, given.outputs, given.context, store=store)
        drawing = compiled.visualize(detail=detail, rerun=rerun)
        target.write_bytes(drawing.render(chosen))
    except PictureError as error:
        raise click.UsageError(str(error)) from error
    except GraphvizError as error:
        raise OutputError(str(error)) from error
    click.echo(repr(drawing)[1:-1], err=True)
