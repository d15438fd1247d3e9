"""What `invariant-dask demo` prints: the cluster, the three runs as a table, and the reasons."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from invariant_dask.demo.report import Cause, Demo, Lap

SHOWN_CAUSES = 20


def show_demo(store: str | None, side: int, *, keep: bool = False, fresh: bool = False) -> None:
    """Run the demo and print what happens.

    Parameters
    ----------
    store
        What `open_store` takes; by default a folder beside the pictures.
    side
        Longer side of the working copies, in pixels.
    keep
        Leave the cluster and its dashboard up until Ctrl-C.
    fresh
        Empty the demo's own store first.
    """
    from invariant_dask.demo.report import Demo, causes, local_cluster

    console = Console()
    demo = Demo(store=store, side=side, fresh=fresh)
    with local_cluster() as (client, link, workers):
        console.print(f"{len(demo.photos)} photographs on a cluster of {workers} local processes")
        to_do = demo.compile(demo.strength).plan().summary()
        console.print(f"three runs; the first, which takes the longest, has {to_do}")
        console.print(f"dashboard: [link={link}]{escape(link)}[/link]\n", soft_wrap=True)
        laps = []
        for step in (demo.cold, demo.warm, demo.changed):
            laps.append(step(client, progress=True))
            done = laps[-1]
            console.print(f"{done.name}: {done.run.summary()} in {done.seconds:.1f} s")
        _show_laps(console, laps)
        _show_note(console, laps[0], store)
        _show_change(console, laps)
        _show_causes(console, causes(laps[-1].run, demo.build(laps[-1].strength)))
        _show_files(console, demo, laps)
        if keep:
            _wait(console)


def _show_laps(console: Console, laps: Sequence[Lap]) -> None:
    table = Table(header_style="bold")
    table.add_column("run")
    counted = [
        what for what in laps[0].counts if what != "shared" or any(lap.counts[what] for lap in laps)
    ]
    for column in (*counted, "seconds", "speed-up"):
        table.add_column(column, justify="right")
    first = laps[0]
    for lap in laps:
        counts = lap.counts
        # Nothing to compare with if the first run found its results stored.
        faster = "" if lap is first or not first.counts["ran"] else _times(first, lap)
        table.add_row(
            lap.name,
            *(str(counts[what]) for what in counted),
            f"{lap.seconds:.2f}",
            faster,
        )
    console.print(table)


def _times(first: Lap, lap: Lap) -> str:
    ratio = first.seconds / max(lap.seconds, 1e-6)
    return f"{ratio:.0f}x" if ratio >= 10 else f"{ratio:.1f}x"


def _show_note(console: Console, first: Lap, store: str | None) -> None:
    if len(first.run.ran()) < len(first.run.plan):
        cure = "--fresh" if store is None else "another --store"
        console.print(
            f"The store held earlier results, so the first run was not cold; {cure} starts over."
        )


def _show_change(console: Console, laps: Sequence[Lap]) -> None:
    before, after = laps[0], laps[-1]
    ran, total = len(after.run.ran()), len(after.run.plan)
    console.print(
        f"\n[bold]Changed[/] the strength of the tone curve, {before.strength} -> "
        f"{after.strength}: {ran} of {total} nodes ran."
    )
    if not ran:
        console.print("By now the store has every strength that the demo tries.")


def _show_causes(console: Console, found: Sequence[Cause]) -> None:
    """Print root causes, those that read the same together, each with what merely follows."""
    together: dict[tuple[str, ...], list[Cause]] = {}
    for cause in found:
        together.setdefault(cause.causes, []).append(cause)
    for told, group in together.items():
        heading = "; ".join(told)
        console.print(
            f"[yellow]{escape(heading)}[/]" if told else "[yellow]no change of its own[/]"
        )
        table = Table(box=None, show_header=False, padding=(0, 1))
        for cause in group[:SHOWN_CAUSES]:
            follows = f"[dim]then[/] {escape(_followers(cause))}" if cause.followers else ""
            table.add_row("", escape(cause.node) or "[dim]several of these[/]", follows)
        if len(group) > SHOWN_CAUSES:
            table.add_row("", f"... and {len(group) - SHOWN_CAUSES} more", "")
        console.print(table)


def _followers(cause: Cause) -> str:
    """Return followers by name, without the folder that they share with their root."""
    folder = cause.node.rpartition("/")[0] + "/"
    return ", ".join(name.removeprefix(folder) for name in cause.followers)


def _show_files(console: Console, demo: Demo, laps: Sequence[Lap]) -> None:
    console.print("\nPictures:")
    for path in dict.fromkeys(path for lap in laps for path in lap.files):
        console.print(f"  {escape(_short(path))}", soft_wrap=True)
    console.print(f"Store:\n  {escape(_short(Path(demo.store.url)))}", soft_wrap=True)


def _short(path: Path) -> str:
    try:
        return f"./{path.relative_to(Path.cwd())}"
    except ValueError:
        return str(path)


def _wait(console: Console) -> None:
    try:
        console.print("\nThe cluster and its dashboard stay up; press Ctrl-C to stop them.")
        threading.Event().wait()
    except KeyboardInterrupt:
        return
