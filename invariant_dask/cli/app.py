"""The commands. Exit codes: 0, 1 if a node failed, 2 if the input is not valid.

Written with click, which Dask brings along; what is heavier is imported when a command needs it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import click

from invariant_dask._version import __version__
from invariant_dask.cli.documents import dump, validate
from invariant_dask.cli.explain import explain
from invariant_dask.cli.graph import graph
from invariant_dask.cli.inputs import Asked, Input, read_input, takes_a_graph, with_cures
from invariant_dask.cli.keys import keygen, trusted_keys
from invariant_dask.cli.observing import Observers
from invariant_dask.cli.ops import ops
from invariant_dask.cli.outputs import Target, told
from invariant_dask.cli.runs import runs
from invariant_dask.cli.store import store as store_commands
from invariant_dask.errors import InvariantError, OpError

_store = click.option(
    "--store",
    metavar="STORE",
    help="A folder, a URL such as s3://bucket/prefix, or a JSON list of these from near to far; "
    "by default $INVARIANT_STORE or .invariant.",
)
_scheduler = click.option(
    "--scheduler",
    metavar="WHERE",
    help="Address of a Dask scheduler, or threads, processes, sync.",
)
_rerun = click.option(
    "--rerun",
    metavar="ID",
    multiple=True,
    help="A node to run whatever is stored; may be repeated.",
)
_pretty = click.option("--pretty", is_flag=True, help="Indent JSON.")


def _file(what: str) -> Callable[..., Any]:
    return click.option(
        "-o",
        "file",
        metavar="FILE",
        type=click.Path(path_type=Path, allow_dash=True),
        help=f"Write {what} to a file, which is complete or not there at all.",
    )


def _on_a_graph(command: Callable[..., None]) -> Callable[..., None]:
    command = takes_a_graph(command)
    for parameter in (_pretty, _rerun, _scheduler, _store):
        command = parameter(command)
    return command


class Commands(click.Group):
    """A group of commands that ends with the code that says how it went."""

    def main(self, *args: Any, **extra: Any) -> NoReturn:
        """Run the command line and exit."""
        extra["standalone_mode"] = False
        try:
            code = super().main(*args, **extra)
            sys.stdout.flush()
        except InvariantError as error:
            _complain(told(error))
            if isinstance(error, OpError):
                click.echo(error.traceback_text, err=True, nl=False)
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
            sys.exit(error.exit_code)
        except BrokenPipeError:  # whoever read has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        sys.exit(code if isinstance(code, int) else 0)


@click.group(cls=Commands, help="Deterministic, content-addressed computation on Dask.")
def app() -> None:
    pass


app.add_command(validate)
app.add_command(dump)
app.add_command(graph)
app.add_command(ops)
app.add_command(explain)
app.add_command(store_commands)
app.add_command(runs)
app.add_command(keygen)
app.add_command(trusted_keys)


@app.command()
@_on_a_graph
@_file("the outputs")
@click.option(
    "--output-format",
    type=click.Choice(["auto", "json", "binary"]),
    default="auto",
    help="How outputs are written. auto: the bytes of one output that is bytes, a FileArtifact or "
    "an ICacheable, unless on a terminal; with -o also an array to .npy, a frame to .csv or "
    ".parquet; JSON otherwise.",
)
@click.option(
    "--report",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write a page (HTML) that tells all that happened, also of a run that fails.",
)
@click.option(
    "--json",
    "as_events",
    is_flag=True,
    help="Write what happens to standard output, as it happens, one JSON object a line; outputs "
    "go to a file that -o names, if anywhere.",
)
def run(
    asked: Asked,
    store: str | None,
    scheduler: str | None,
    rerun: Sequence[str],
    file: Path | None,
    pretty: bool,
    output_format: str,
    report: Path | None,
    as_events: bool,
) -> None:
    """Run a graph, reusing all that is stored, and show the outputs.

    GRAPH is a Python file and the name the graph has in there (FILE.py:NAME), a graph document
    (.json, .yaml), - for a document on standard input, or a data URI.

    The outputs of a document go to standard output (or to FILE), and what was done and why to
    standard error. Of a Python file both are shown together, unless -o, --pretty or
    --output-format asks for the outputs alone. One output is written as it is, several as a
    mapping by id, in the form that documents have for values.
    """
    from invariant_dask.cli.show import show_run, warnings_in_lines

    target = Target(_path(file), output_format, pretty)
    target.check(max(1, len(asked.picks)))
    if as_events and target.file is None and target.is_asked_for:
        raise click.UsageError("with --json outputs go to a file only; name one with -o")
    observers = Observers(report=report, as_events=as_events)
    compiled = _compile(read_input(asked), store)
    target.check(len(compiled.outputs))
    with warnings_in_lines(), observers as observe:
        result = compiled.run(
            scheduler=scheduler, rerun=rerun, progress=not as_events, observe=observe
        )
    if as_events:
        if target.file is not None:
            target.write_values(result.values)
        return
    alone = file is not None or target.is_asked_for or not asked.is_python
    show_run(result, alone=alone)
    if alone:
        target.write_values(result.values, partial(_in_python, compiled))


@app.command()
@_on_a_graph
@_file("the plan as JSON")
@click.option(
    "--output-format",
    type=click.Choice(["auto", "json"]),
    default="auto",
    help="json: one entry for each node. auto: a table, or JSON with -o or --pretty.",
)
@click.option("--json", "plain", is_flag=True, help="The plan as JSON.")
def plan(
    asked: Asked,
    store: str | None,
    scheduler: str | None,  # noqa: ARG001  as for run
    rerun: Sequence[str],
    file: Path | None,
    pretty: bool,
    output_format: str,
    plain: bool,
) -> None:
    """Show what a run would do and why; nothing runs.

    GRAPH is what `run` takes.
    """
    from invariant_dask.cli.show import plan_as_json, show_plan

    target = Target(_path(file), "json" if plain else output_format, pretty)
    target.check()
    made = _compile(read_input(asked), store).plan(rerun=rerun)
    if file is not None or target.is_asked_for:
        target.write_json(plan_as_json(made))
    else:
        show_plan(made)


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


def _path(file: Path | None) -> Path | None:
    return None if file is None or str(file) == "-" else file


def _compile(given: Input, store: str | None) -> Any:
    from invariant_dask.session import compile as compile_to_dask

    with with_cures():
        return compile_to_dask(given.graph, given.outputs, given.context, store=store)


def _in_python(compiled: Any, name: str) -> str:
    """Return the expression that gives an output; what no other process sees is made again."""
    store = compiled.store
    if name not in compiled.digests or store.is_process_local:
        return f"compile(graph, [{name!r}]).compute()"
    return f"open_store({store.url!r}).get({compiled.digests[name]!r})"


def run_app() -> None:
    """Run the command line and exit with the code that says how it went."""
    app()


def _complain(message: str) -> None:
    start = click.style("invariant-dask: error:", fg="red", bold=True)
    click.echo(f"{start} {message}", err=True)
