"""`runs ...`: which runs there were, what became of their nodes, and what differs between two."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from invariant_dask.cli.observing import write_report
from invariant_dask.cli.outputs import check_file
from invariant_dask.cli.store_view import tell

if TYPE_CHECKING:
    from invariant_dask.ledger.places import Ledger

_SETTLED = 50
_run = click.argument("run", metavar="RUN")
_limit = click.option(
    "--limit", default=_SETTLED, show_default=True, help="How many to list; 0 for all."
)


@click.group()
def runs() -> None:
    """See which runs there were, and what became of them.

    A RUN is the id of one, the first characters of it, or `latest`.
    """


def _command(name: str, *parameters: Callable[..., Any]) -> Callable[..., Any]:
    options = (
        click.option(
            "--ledger",
            metavar="PATH",
            help="A folder; by default $INVARIANT_LEDGER, or `ledger` in the store's.",
        ),
        click.option(
            "--store",
            metavar="STORE",
            help="The store that was used; by default $INVARIANT_STORE or .invariant.",
        ),
        click.option("--json", "plain", is_flag=True, help="All of it as JSON."),
    )

    def make(function: Callable[..., Any]) -> Callable[..., Any]:
        for parameter in reversed((*parameters, *options)):
            function = parameter(function)
        runs.add_command(click.command(name)(function))
        return function

    return make


@_command(
    "ls",
    click.option("--graph", metavar="NAME", help="Those of a graph."),
    click.option("--tag", metavar="TAG", help="Those with a tag."),
    click.option("--op", metavar="OP", help="Those with a node of an op."),
    click.option(
        "--state",
        type=click.Choice(["running", "finished", "failed", "cancelled", "interrupted"]),
        help="Those in a state.",
    ),
    click.option("--since", metavar="AGE", help="Those that started since then: 2d, 12h, 30m."),
    _limit,
)
def list_(
    graph: str | None,
    tag: str | None,
    op: str | None,
    state: str | None,
    since: str | None,
    limit: int,
    ledger: str | None,
    store: str | None,
    plain: bool,
) -> None:
    """List runs, the latest first."""
    from invariant_dask.cli import runs_view
    from invariant_dask.ledger.runs import History
    from invariant_dask.store.sizes import parse_age

    now, age = time.time_ns(), parse_age(since, "--since")
    found = History(_open(ledger, store)).runs(
        graph=graph, tag=tag, op=op, state=state, since=None if age is None else now - age,
        limit=limit + 1 if limit > 0 else None,
    )  # fmt: skip
    listed = found[:limit] if limit > 0 else found
    text = runs_view.list_of_runs(listed, now, has_more=len(found) > len(listed))
    tell(text, [runs_view.run_as_json(run) for run in listed], plain)


@_command("show", _run, _limit)
def show(run: str, limit: int, ledger: str | None, store: str | None, plain: bool) -> None:
    """Show a run and its nodes; of one that has no end, what was finished."""
    from invariant_dask.cli import runs_view
    from invariant_dask.ledger.telling import find_run, tell_run

    opened = _open(ledger, store)
    told, nodes = tell_run(opened, find_run(opened, run), _damage)
    tell(runs_view.run(told, nodes, limit), runs_view.told_as_json(told, nodes), plain)


@_command(
    "diff",
    click.argument("before", metavar="A"),
    click.argument("after", metavar="B"),
    click.option("--all", "everything", is_flag=True, help="Also nodes that only ran or were not."),
)
def diff(
    before: str, after: str, everything: bool, ledger: str | None, store: str | None, plain: bool
) -> None:
    """Show which nodes differ between the runs A and B, and why they ran in B.

    Nodes of which only that differs, whether they ran or were reused, are counted, not listed.
    """
    from invariant_dask.cli import runs_view
    from invariant_dask.ledger.comparing import compare
    from invariant_dask.ledger.telling import find_run, tell_run

    opened = _open(ledger, store)
    one, old = tell_run(opened, find_run(opened, before), _damage)
    other, new = tell_run(opened, find_run(opened, after), _damage)
    found = compare(old, new)
    told = runs_view.differences_as_json(one, other, found)
    tell(runs_view.differences(one, other, found, everything=everything), told, plain)


@_command("rm", click.argument("names", metavar="RUN...", nargs=-1, required=True))
def rm(names: tuple[str, ...], ledger: str | None, store: str | None, plain: bool) -> None:
    """Forget runs and remove their journals; what they stored stays."""
    from invariant_dask.ledger.runs import History
    from invariant_dask.ledger.telling import find_run

    opened = _open(ledger, store)
    found = list(dict.fromkeys(find_run(opened, name) for name in names))
    for run in found:
        History(opened).remove(run)
    tell("".join(f"removed {run}\n" for run in found), {"removed": found}, plain)


@_command(
    "replay",
    click.argument("run", metavar="RUN|FILE"),
    _limit,
    click.option(
        "--html",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="Write a page that tells all that happened, as `run --report` does.",
    ),
)
def replay(
    run: str, limit: int, html: Path | None, ledger: str | None, store: str | None, plain: bool
) -> None:
    """Show a run from its journal alone: that of a RUN, or any FILE."""
    from invariant_dask.cli import runs_view
    from invariant_dask.ledger import telling
    from invariant_dask.ledger.rows import told_of

    path = Path(run)
    if not path.is_file():
        opened = _open(ledger, store)
        path = opened.journal(telling.find_journal(opened, run))
    if html is not None:
        check_file(html, "--html")
    state = telling.replay(path, _damage)
    told, nodes = told_of(state)
    if html is not None:
        from invariant_dask.ledger.journal import read_journal

        write_report(html, state, list(read_journal(path, _pass_over)))
    tell(runs_view.run(told, nodes, limit), runs_view.told_as_json(told, nodes), plain)


def _pass_over(_: str) -> None:
    """Say nothing of damage: that was done when the state was read."""


def _open(ledger: str | None, store: str | None) -> Ledger:
    """Return the ledger that is meant; looking at one makes none."""
    from invariant_dask.errors import SpecError
    from invariant_dask.ledger.places import DEFAULT_PATH, VARIABLE, find_ledger, local_folder
    from invariant_dask.store.opening import DEFAULT_PATH as STORE_PATH
    from invariant_dask.store.opening import VARIABLE as STORE_VARIABLE

    folder = local_folder(store or os.environ.get(STORE_VARIABLE) or STORE_PATH)
    if store and not ledger:  # who names a store means its ledger, whatever the variable says
        ledger = str(folder / "ledger") if folder is not None else DEFAULT_PATH
    found = find_ledger(ledger or None, folder)
    if found is None:
        raise SpecError(f"the ledger is off ({VARIABLE}); name one with --ledger")
    if not found.folder.exists():
        raise SpecError(f"there is no ledger at {found.folder}; name one with --ledger or --store")
    return found


def _damage(message: str) -> None:
    from invariant_dask.cli.runs_view import clean

    click.echo(f"left out: {clean(message)}", err=True)
