"""The commands. Exit codes: 0, 1 if a node failed, 2 if the input is not valid."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from invariant_dask._version import __version__
from invariant_dask.cli.loading import load_graph
from invariant_dask.errors import InvariantError, OpError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Deterministic, content-addressed computation on Dask.",
)

_GRAPH = typer.Argument(metavar="GRAPH.py:NAME", help="A Python file and the graph in it.")
_STORE = typer.Option(help="A folder; by default $INVARIANT_STORE or .invariant.")
_SCHEDULER = typer.Option(help="Address of a Dask scheduler, or threads, processes, sync.")
_OUTPUT = typer.Option(metavar="ID", help="A node to produce; may be repeated.")
_RERUN = typer.Option(metavar="ID", help="A node to run whatever is stored; may be repeated.")


@app.command()
def run(
    graph: Annotated[str, _GRAPH],
    store: Annotated[str | None, _STORE] = None,
    scheduler: Annotated[str | None, _SCHEDULER] = None,
    output: Annotated[list[str] | None, _OUTPUT] = None,
    rerun: Annotated[list[str] | None, _RERUN] = None,
) -> None:
    """Run a graph, reusing all that is stored, and show the outputs."""
    from invariant_dask.cli.show import live_progress, show_run

    compiled = _compile(graph, store, output)
    with live_progress() as progress:
        result = compiled.run(scheduler=scheduler, rerun=rerun or (), progress=progress)
    show_run(result)


@app.command()
def plan(
    graph: Annotated[str, _GRAPH],
    store: Annotated[str | None, _STORE] = None,
    scheduler: Annotated[str | None, _SCHEDULER] = None,  # noqa: ARG001  as for run
    output: Annotated[list[str] | None, _OUTPUT] = None,
    rerun: Annotated[list[str] | None, _RERUN] = None,
) -> None:
    """Show what a run would do and why; nothing runs."""
    from invariant_dask.cli.show import show_plan

    show_plan(_compile(graph, store, output).plan(rerun=rerun or ()))


@app.command()
def demo(
    store: Annotated[str | None, typer.Option(help="A store of your own to run on.")] = None,
    side: Annotated[int, typer.Option(help="Longer side of the working copies, in pixels.")] = 512,
    fresh: Annotated[bool, typer.Option(help="Empty the demo's own store first.")] = False,
    keep: Annotated[bool, typer.Option(help="Leave the cluster up until Ctrl-C.")] = False,
) -> None:
    """Run a pipeline on real photographs: cold, warm, and with one parameter changed."""
    from invariant_dask.cli.demo_view import show_demo

    show_demo(store, side, keep=keep, fresh=fresh)


@app.command()
def version() -> None:
    """Show the version."""
    typer.echo(f"invariant-dask {__version__}")


def _compile(graph: str, store: str | None, output: list[str] | None) -> Any:
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
    except typer.Exit as end:
        sys.exit(end.exit_code)
    except typer.Abort:
        _complain("interrupted")
        sys.exit(130)
    except Exception as error:
        usage = getattr(error, "format_message", None)
        if usage is None:
            raise
        if message := usage():  # without arguments there is the help, and nothing to add
            _complain(message)
        sys.exit(2)
    sys.exit(code if isinstance(code, int) else 0)


def _complain(message: str) -> None:
    typer.echo(f"{typer.style('invariant-dask: error:', fg='red', bold=True)} {message}", err=True)
