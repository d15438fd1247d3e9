"""The commands. Exit codes: 0, 1 if a node failed, 2 if the input is not valid.

Written with click, which Dask brings along; what is heavier is imported when a command needs it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import click

from invariant_dask._version import __version__
from invariant_dask.cli.loading import load_graph
from invariant_dask.errors import InvariantError, OpError

_graph = click.argument("graph", metavar="GRAPH.py:NAME")
_store = click.option(
    "--store", metavar="PATH", help="A folder; by default $INVARIANT_STORE or .invariant."
)
_scheduler = click.option(
    "--scheduler",
    metavar="WHERE",
    help="Address of a Dask scheduler, or threads, processes, sync.",
)
_output = click.option(
    "--output", metavar="ID", multiple=True, help="A node to produce; may be repeated."
)
_rerun = click.option(
    "--rerun",
    metavar="ID",
    multiple=True,
    help="A node to run whatever is stored; may be repeated.",
)


def _on_a_graph(command: Callable[..., None]) -> Callable[..., None]:
    for parameter in (_rerun, _output, _scheduler, _store, _graph):
        command = parameter(command)
    return command


@click.group(help="Deterministic, content-addressed computation on Dask.")
def app() -> None:
    pass


@app.command()
@_on_a_graph
def run(
    graph: str,
    store: str | None,
    scheduler: str | None,
    output: Sequence[str],
    rerun: Sequence[str],
) -> None:
    """Run a graph, reusing all that is stored, and show the outputs.

    The graph is given by a Python file and the name it has in there.
    """
    from invariant_dask.cli.show import live_progress, show_run

    compiled = _compile(graph, store, output)
    with live_progress() as progress:
        result = compiled.run(scheduler=scheduler, rerun=rerun, progress=progress)
    show_run(result)


@app.command()
@_on_a_graph
def plan(
    graph: str,
    store: str | None,
    scheduler: str | None,  # noqa: ARG001  as for run
    output: Sequence[str],
    rerun: Sequence[str],
) -> None:
    """Show what a run would do and why; nothing runs."""
    from invariant_dask.cli.show import show_plan

    show_plan(_compile(graph, store, output).plan(rerun=rerun))


@app.command()
@click.option("--store", metavar="PATH", help="A store of your own to run on.")
@click.option(
    "--side", default=512, show_default=True, help="Longer side of the working copies, in pixels."
)
@click.option("--fresh", is_flag=True, help="Empty the demo's own store first.")
@click.option("--keep", is_flag=True, help="Leave the cluster up until Ctrl-C.")
def demo(store: str | None, side: int, fresh: bool, keep: bool) -> None:
    """Run a pipeline on real photographs: cold, warm, and with one parameter changed."""
    from invariant_dask.cli.demo_view import show_demo

    show_demo(store, side, keep=keep, fresh=fresh)


@app.command()
def version() -> None:
    """Show the version."""
    click.echo(f"invariant-dask {__version__}")


def _compile(graph: str, store: str | None, output: Sequence[str]) -> Any:
    from invariant_dask.session import compile as compile_to_dask

    return compile_to_dask(load_graph(graph), output or None, store=store)


def run_app() -> None:
    """Run the command line and exit with the code that says how it went."""
    try:
        code = app(standalone_mode=False)
    except InvariantError as error:
        _complain(str(error))
        if isinstance(error, OpError):
            sys.stderr.write(error.traceback_text)
            sys.exit(1)
        sys.exit(2)
    except click.Abort:
        _complain("interrupted")
        sys.exit(130)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(2)
    except click.ClickException as error:
        _complain(error.format_message())
        sys.exit(2)
    sys.exit(code if isinstance(code, int) else 0)


def _complain(message: str) -> None:
    start = click.style("invariant-dask: error:", fg="red", bold=True)
    click.echo(f"{start} {message}", err=True)
