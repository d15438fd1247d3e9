"""What the commands of `store` print, for people and as JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from invariant_dask.store.sizes import age_text, counted, size_text

if TYPE_CHECKING:
    from invariant_dask.store.upkeep import Listed, Overview, Report, Verified

_SHOWN = 20
_OFTEN = 0.2


def tell(text: str, told: object, plain: bool) -> None:
    """Print text, or the same as JSON."""
    if plain:
        click.echo(json.dumps(_plain(told), indent=2, ensure_ascii=False))
    else:
        click.echo(text, nl=False)


def _plain(told: object) -> Any:
    if is_dataclass(told) and not isinstance(told, type):
        return {name: _plain(value) for name, value in vars(told).items()}
    if isinstance(told, tuple) and hasattr(told, "_asdict"):
        return {name: _plain(value) for name, value in told._asdict().items()}
    if isinstance(told, dict):
        return {str(name): _plain(value) for name, value in told.items()}
    if isinstance(told, list | tuple):
        return [_plain(each) for each in told]
    if isinstance(told, bytes):
        return told.hex()
    return str(told) if isinstance(told, Path) else told


@contextmanager
def progress() -> Iterator[Callable[[str, int], None] | None]:
    """Show on a terminal how far something is, while it goes on."""
    if not sys.stderr.isatty():
        yield None
        return
    last = 0.0

    def show(what: str, done: int) -> None:
        nonlocal last
        if time.monotonic() - last > _OFTEN:
            last = time.monotonic()
            click.echo(f"\r\x1b[K{done} {what}", err=True, nl=False)

    try:
        yield show
    finally:
        if last:
            click.echo("\r\x1b[K", err=True, nl=False)


def overview(told: Overview) -> str:
    """Return what `stats` prints."""
    records = counted(told.records, "record")
    planned = counted(told.planned, "planned entry", "planned entries")
    counts = f"{records}, {planned}, {counted(told.blobs, 'blob')}"
    lines = [f"  {counts}: {size_text(told.size)}", f"  {told.signed} of {records} signed"]
    if told.unnamed:
        unnamed = size_text(told.size_of_unnamed)
        lines.append(f"  {counted(told.unnamed, 'blob')} that no record names: {unnamed}")
    if told.lost:
        lost = counted(told.lost, "record names", "records name")
        lines.append(f"  {lost} a blob that is gone: store gc forgets them")
    if told.codes.records:
        codes = size_text(told.codes.size)
        times = counted(told.codes.records, "time")
        lines.append(f"  the code of ops as text, {times}: {codes}")
    if told.damaged:
        damaged = counted(told.damaged, "damaged entry", "damaged entries")
        lines.append(f"  {damaged}: run store verify")
    if told.aside:
        aside = counted(told.aside, "damaged thing")
        size = size_text(told.size_of_aside)
        lines.append(f"  {aside} set aside in quarantine/: {size}; store gc frees it after a week")
    runs = counted(told.runs, "run that relies", "runs that rely")
    lines.append(f"  {counted(told.pins, 'pin')}, {runs} on something here")
    budget = told.budget
    if not budget.is_empty:
        limits = []
        if budget.max_size is not None:
            limits.append(f"at most {size_text(budget.max_size)}")
        if budget.max_age is not None:
            limits.append(f"used within {age_text(budget.max_age)}")
        if budget.keep_last is not None:
            limits.append(f"the latest {budget.keep_last} of each op")
        lines.append(f"  budget: {', '.join(limits)}")
    if told.ops:
        lines.append("")
    width = max((len(op) for op in told.ops), default=0)
    for op, of_op in sorted(told.ops.items(), key=lambda each: -each[1].size):
        many = "record " if of_op.records == 1 else "records"
        lines.append(f"  {op:{width}}  {of_op.records:7} {many}  {size_text(of_op.size):>9}")
    return "\n".join(lines) + "\n"


def records(listed: Sequence[Listed], total: int, now: int) -> str:
    """Return what `ls` prints."""
    lines = [
        f"{each.digest.hex()[:12]}  {size_text(each.size):>9}  "
        f"{age_text(now - each.used):>7} ago  {each.op}"
        for each in listed
    ]
    if total > len(listed):
        lines.append(f"... and {total - len(listed)} more")
    return "".join(line + "\n" for line in lines)


def verified(told: Verified) -> str:
    """Return what `verify` prints."""
    lines = [
        f"{click.style(each.what, fg='red')} {each.digest.hex()}  {each.op}  {each.reason}"
        for each in told.damage
    ]
    lines.append(str(told))
    if told.damage:
        lines.append(
            "next: what is damaged is set aside and made again by the run that needs it; "
            "store gc --grace 0s forgets records whose blobs are gone, store rm DIGEST any"
        )
    return "".join(line + "\n" for line in lines)


def collected(told: Report) -> str:
    """Return what `gc` prints."""
    lines = []
    if told.dry_run:
        shown = told.removals[:_SHOWN]
        if shown:
            lines.append(f"{'what':13}  {'digest':12}  {'itself':>9}  {'its blobs':>9}")
        lines += [
            f"{each.what:13}  {each.digest.hex()[:12]}  {size_text(each.size):>9}  "
            f"{size_text(each.named) if each.named else '':>9}  {each.op}  {each.why}".rstrip()
            for each in shown
        ]
        if len(told.removals) > len(shown):
            lines.append(f"... and {len(told.removals) - len(shown)} more")
    lines.append(str(told))
    if told.kept:
        kept = ", ".join(f"{count} {why}" for why, count in sorted(told.kept.items()))
        lines.append(f"records that stay: {kept}")
    return "".join(line + "\n" for line in lines)


def collected_json(told: Report) -> dict[str, Any]:
    """Return what `gc --json` prints."""
    return {**vars(told), "freed": told.freed, "size_after": told.size_after}
