"""`store ...`: what is in a store, what goes, what stays, and whether it is sound."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

import click

from invariant_dask.cli.outputs import OutputError
from invariant_dask.cli.store_files import files_of
from invariant_dask.cli.store_removal import op_or_digest, refuse_pinned
from invariant_dask.cli.store_tiers import (
    CURE,
    nearest,
    only,
    stores_of,
    tell_each,
    tiers_of,
    writable,
)
from invariant_dask.cli.store_view import progress, tell
from invariant_dask.store.sizes import counted, parse_age, parse_size

if TYPE_CHECKING:
    from invariant_dask.store.base import Store

_json = click.option("--json", "plain", is_flag=True, help="All of it as JSON.")
_digest = click.argument("digest", metavar="DIGEST")
_digests = click.argument("digests", metavar="DIGEST...", nargs=-1, required=True)


def _command(name: str, *parameters: Callable[..., Any]) -> Callable[..., Any]:
    def make(function: Callable[..., Any]) -> Callable[..., Any]:
        @click.pass_obj
        @wraps(function)
        def called(where: str | None, /, own: str | None, **given: Any) -> Any:
            return function(own or where, **given)

        command: Callable[..., Any] = called
        for parameter in (*reversed(parameters), _json, _store("own")):
            command = parameter(command)
        store.add_command(click.command(name)(command))
        return function

    return make


def _store(name: str) -> Callable[..., Any]:
    return click.option(
        "--store",
        name,
        metavar="STORE",
        help="A folder, a URL, or a JSON list of these; by default $INVARIANT_STORE or .invariant.",
    )


def _checked(
    name: str, metavar: str, check: Callable[..., object], about: str
) -> Callable[..., Any]:
    """Return an option with a size or age, whose mistakes are told under its own name."""

    def checked(_context: click.Context, _option: click.Parameter, text: str | None) -> str | None:
        check(text, name)
        return text

    return click.option(name, metavar=metavar, help=about, callback=checked)


@click.group()
@_store("where")
@click.pass_context
def store(context: click.Context, where: str | None) -> None:
    """Look after a store.

    A DIGEST is a planned or resolved one, a Dask key, or the first digits of one.
    """
    context.obj = where


@_command("stats")
def stats(where: str | None, plain: bool) -> None:
    """Show how much there is, of which ops, and what the budget is."""
    from invariant_dask.cli import store_view
    from invariant_dask.store import upkeep

    def look(opened: Store) -> tuple[str, Any]:
        told = upkeep.overview(opened)
        return store_view.overview(told), told

    tell_each(where, plain, look, heading=True)


@_command(
    "ls",
    click.argument("op", default=""),
    click.option("--limit", default=50, show_default=True, help="How many to list; 0 for all."),
)
def list_(where: str | None, op: str, limit: int, plain: bool) -> None:
    """List the records of ops whose name starts with OP, the last used first."""
    from invariant_dask.cli import store_view
    from invariant_dask.store import upkeep

    def look(opened: Store) -> tuple[str, Any]:
        now = upkeep.keeper_of(opened).now()
        records = upkeep.list_records(opened, op)
        listed = records[:limit] if limit > 0 else records
        if not records:
            what = f"records of ops whose name starts with {op!r}" if op else "records"
            click.echo(f"{opened.url} has no {what}", err=True)
        return store_view.records(listed, len(records), now), listed

    tell_each(where, plain, look)


@_command("show", _digest)
def show(where: str | None, digest: str, plain: bool) -> None:
    """Show what is stored under DIGEST, what made it, and from what."""
    from invariant_dask.cli import store_show
    from invariant_dask.store import upkeep

    _, shown = nearest(stores_of(where), lambda opened: upkeep.show(opened, digest))
    told = store_show.describe(shown)
    tell(store_show.artifact(told), told, plain)


@_command(
    "verify",
    click.option("--sample", metavar="N", type=click.IntRange(1), help="Only N entries at random."),
    click.option("--seed", metavar="N", type=int, help="Chooses the same ones again."),
)
def verify(where: str | None, sample: int | None, seed: int | None, plain: bool) -> int:
    """Read what is there and check every hash; what is damaged is set aside.

    The exit code is 1 if damage was found.
    """
    from invariant_dask.cli import store_view
    from invariant_dask.store import upkeep

    def check(opened: Store) -> tuple[str, Any]:
        with progress() as report:
            told = upkeep.verify(opened, sample=sample, seed=seed, progress=report)
        return store_view.verified(told), told

    # What is damaged is set aside, so that is a change.
    checked = tell_each(where, plain, check, changes=True)
    return 0 if all(told.is_sound for told in checked) else 1


@_command(
    "gc",
    _checked("--max-size", "SIZE", parse_size, "The most that may stay, such as 10GB."),
    _checked("--max-age", "AGE", parse_age, "What was not used for so long goes: 30d, 12h."),
    click.option(
        "--keep-last",
        metavar="N",
        type=click.IntRange(0),
        help="The latest N records of each op stay; alone, all others go.",
    ),
    _checked("--grace", "AGE", parse_age, "What is younger stays. [default: 1h, of objects 12h]"),
    click.option("--dry-run", is_flag=True, help="Only say what would go, and why."),
    click.option(
        "--set",
        "keep",
        is_flag=True,
        help="Keep to this from now on, in all runs; without limits, to none.",
    ),
)
def gc(
    where: str | None,
    max_size: str | None,
    max_age: str | None,
    keep_last: int | None,
    grace: str | None,
    dry_run: bool,
    keep: bool,
    plain: bool,
) -> None:
    """Remove what no record names, and what the limits leave no room for.

    Without limits, those that were set for the store are kept to. Of a chain each tier is cleared
    but the read-only ones. What is pinned, what a run relies on and what is young stays. Other
    processes may go on using the store.
    """
    from invariant_dask.cli import store_view
    from invariant_dask.store import upkeep

    if keep:
        if dry_run:
            raise click.UsageError("--set changes the store, --dry-run does not: choose one")
        opened = only(where, "--set")
        budget = upkeep.Budget.of(max_size, max_age, keep_last)
        if budget.is_empty:
            upkeep.write_budget(upkeep.keeper_of(opened), budget)

    def collect(opened: Store) -> tuple[str, Any]:
        with progress() as report:
            told = upkeep.collect(
                opened, max_size=max_size, max_age=max_age, keep_last=keep_last,
                grace=grace, dry_run=dry_run, progress=report,
            )  # fmt: skip
        return store_view.collected(told), store_view.collected_json(told)

    tell_each(where, plain, collect, changes=True)
    if keep and not budget.is_empty:  # afterwards: a full disk has room for it now
        upkeep.write_budget(upkeep.keeper_of(opened), budget)


@_command("pin", _digests, click.option("--reason", default="", help="Why, for people."))
def pin(where: str | None, digests: Sequence[str], reason: str, plain: bool) -> None:
    """Keep artifacts whatever happens, until they are unpinned."""
    from invariant_dask.errors import ArtifactNotFoundError
    from invariant_dask.store import overview, upkeep

    by = ""
    with suppress(KeyError, OSError):
        by = getpass.getuser()
    stores = writable(where)
    pinned: dict[bytes, list[str]] = {}
    for digest in digests:
        found: dict[bytes, list[str]] = {}
        missing = None
        for opened in stores:
            try:
                raw = overview.complete(opened, digest)
                upkeep.pin(opened, raw, by=by, reason=reason)
            except ArtifactNotFoundError as error:
                missing = error
            else:
                found.setdefault(raw, []).append(opened.place)
        if not found and missing is not None:
            raise missing
        pinned |= found
    many = len(stores) > 1
    lines = [f"pinned {raw.hex()}" + f" in {', '.join(at)}" * many for raw, at in pinned.items()]
    tell("".join(line + "\n" for line in lines), {"pinned": list(pinned)}, plain)


@_command("pins")
def pins(where: str | None, plain: bool) -> None:
    """List what is pinned."""
    from invariant_dask.store import upkeep

    def look(opened: Store) -> tuple[str, Any]:
        found = upkeep.pinned(opened)
        lines = []
        for pin in found:
            op = pin.op or "(nothing is stored here now)"
            told = pin.digest.hex(), op, pin.node, pin.by, pin.reason
            lines.append("  ".join(filter(None, told)))
        return "".join(line + "\n" for line in lines), found

    tell_each(where, plain, look)


@_command("unpin", _digests)
def unpin(where: str | None, digests: Sequence[str], plain: bool) -> None:
    """Pin artifacts no longer."""
    from invariant_dask.store import upkeep

    stores = writable(where)
    known = list(dict.fromkeys(pin.digest for opened in stores for pin in upkeep.pins(opened)))
    raws = [_among(known, digest) for digest in digests]
    for raw in raws:
        for opened in stores:
            upkeep.unpin(opened, raw)
    tell("".join(f"unpinned {raw.hex()}\n" for raw in raws), {"unpinned": raws}, plain)


def _among(known: Sequence[bytes], digest: str) -> bytes:
    found = [raw for raw in known if digest.lower().endswith(raw.hex())]
    found = found or [raw for raw in known if raw.hex().startswith(digest.lower())]
    if len(found) != 1:
        what = "is not pinned" if not found else f"is the start of {len(found)} pins"
        raise OutputError(f"{digest} {what}; see store pins")
    return found[0]


_which = (
    click.argument("digests", metavar="[DIGEST...]", nargs=-1),
    click.option("--op", "ops", metavar="OP", multiple=True, help="All of an op; may be repeated."),
    click.option("--replace", is_flag=True, help="Replace entries that differ."),
)


@_command("push", click.argument("to", metavar="STORE"), *_which)
def push(
    where: str | None,
    to: str,
    digests: Sequence[str],
    ops: Sequence[str],
    replace: bool,
    plain: bool,
) -> int:
    """Copy artifacts to another STORE: some DIGESTs, some ops, or all there are."""
    return _copy(where, to, digests, ops, replace, plain)


@_command("pull", click.argument("source", metavar="STORE"), *_which)
def pull(
    where: str | None,
    source: str,
    digests: Sequence[str],
    ops: Sequence[str],
    replace: bool,
    plain: bool,
) -> int:
    """Copy artifacts from another STORE: some DIGESTs, some ops, or all there are."""
    return _copy(source, where, digests, ops, replace, plain, cure="pull STORE copies from there")


@_command(
    "copy",
    click.argument("source", metavar="FROM"),
    click.argument("to", metavar="TO"),
    *_which,
)
def copy(
    _where: str | None,
    source: str,
    to: str,
    digests: Sequence[str],
    ops: Sequence[str],
    replace: bool,
    plain: bool,
) -> int:
    """Copy artifacts from one store to another: some DIGESTs, some ops, or all there are."""
    return _copy(source, to, digests, ops, replace, plain, cure="copy FROM TO copies from there")


def _copy(
    source: str | None,
    target: str | None,
    digests: Sequence[str],
    ops: Sequence[str],
    replace: bool,
    plain: bool,
    cure: str = CURE,
) -> int:
    from invariant_dask.store import upkeep
    from invariant_dask.store.opening import open_store

    sources = stores_of(source, cure)
    # What is asked for is there, before the other store is made.
    wanted: dict[Store, list[bytes]] = {opened: [] for opened in sources}
    for digest in digests:
        opened, shown = nearest(sources, partial(upkeep.show, digest=digest))
        wanted[opened].append(shown.asked.planned if shown.asked else shown.record.resolved)
    written = open_store(target)
    told = upkeep.Transferred()
    for opened, raws in wanted.items():
        if (digests and not raws) or (len(sources) > 1 and opened.place == written.place):
            continue
        with progress() as report:
            told += upkeep.copy(
                opened, written, digests=raws, ops=ops, replace=replace, progress=report
            )
    tell(f"{told}\n", told, plain)
    return 1 if told.lost else 0


@_command("rm", click.argument("what", metavar="OP|DIGEST...", nargs=-1, required=True))
def rm(where: str | None, what: Sequence[str], plain: bool) -> int:
    """Forget all of an op, or what is under a digest, in all tiers of a chain; `gc` frees the room.

    What is pinned has to be unpinned first.
    """
    from invariant_dask.store.finding import joined

    tiers = tiers_of(where)
    stores = [tier.store for tier in tiers]
    # All are looked up before any is removed: one that is not unique must not stop halfway.
    found = {each: op_or_digest(stores, each) for each in what}
    for opened in stores:
        refuse_pinned(opened, found)
    together = joined(tiers)
    counts = {each: together.invalidate(known) if known else 0 for each, known in found.items()}
    lines = [f"{each}: {counted(n, 'entry', 'entries')}\n" for each, n in counts.items() if n]
    tell("".join(lines), counts, plain)
    missing = [each for each, count in counts.items() if not count]
    if missing:
        raise OutputError(f"nothing is stored under {', '.join(missing)}; see store ls")
    return 0


@_command("path", _digest)
def path(where: str | None, digest: str, plain: bool) -> None:
    """Print the files of an artifact, or of a blob.

    A file whose name ends in .zst is compressed.
    """
    files = files_of(stores_of(where), digest)
    if any(file.endswith(".zst") for file in files):
        click.echo("what ends in .zst is compressed: zstd -dc FILE gives its bytes", err=True)
    tell("".join(f"{file}\n" for file in files), files, plain)
