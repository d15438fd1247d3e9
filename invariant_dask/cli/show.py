"""What commands print: plans, runs, and progress while work goes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from invariant_dask.plan.plan import Decision, Plan

_STYLES = {
    Decision.RUN: "bold yellow",
    Decision.REUSE: "green",
    Decision.INLINE: "cyan",
    Decision.PRUNED: "dim",
}


def show_plan(plan: Plan, limit: int = 200) -> None:
    """Print a plan as a table, what runs first, with the summary behind."""
    console = Console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("", "node", "op", "digest", "why"):
        table.add_column(column, overflow="fold")
    order = list(Decision)
    nodes = sorted(plan.nodes(), key=lambda node: order.index(node.decision))
    for node in nodes[:limit]:
        style = _STYLES[node.decision]
        table.add_row(
            f"[{style}]{node.decision.value}[/]",
            escape(node.node),
            escape(node.op),
            node.digest.hex()[:12] if node.digest else "",
            escape("; ".join(node.causes) or node.reason.value),
        )
    console.print(table)
    if len(nodes) > limit:
        console.print(f"... and {len(nodes) - limit} more")
    console.print(f"[bold]{plan.summary()}[/]")


def show_run(run: Any) -> None:
    """Print what a run did, why each node ran, and its outputs."""
    console = Console()
    reasons = [node for node in run.plan.nodes() if node.decision is Decision.RUN]
    ran = set(run.ran())
    for node in reasons[:50]:
        if node.node in ran:
            why = "; ".join(node.causes) or node.reason.value
            console.print(f"[yellow]ran[/] {escape(node.node)}: {escape(why)}")
        else:
            console.print(f"[green]reused[/] {escape(node.node)}: its inputs came out the same")
    if len(reasons) > 50:
        console.print(f"... and {len(reasons) - 50} more")
    counts = run.counts()
    console.print(
        f"[bold]{counts['ran']} ran, {counts['reused']} reused, {counts['pruned']} pruned[/] "
        f"in {run.seconds:.2f} s"
    )
    for name, value in run.values.items():
        console.print(f"[bold]{escape(name)}[/] = {escape(_brief(value))}")


@contextmanager
def live_progress() -> Iterator[Any]:
    """Yield a progress callback for `Compiled.run`; it draws on terminals only."""
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    ) as bar:
        task = bar.add_task("running", total=None)
        done: set[str] = set()

        def progress(plan: Plan, digest: str, outcome: Any) -> None:  # noqa: ARG001
            if not done:
                bar.update(task, total=len(plan.run) + len(plan.loads))
            done.add(digest)
            bar.update(task, completed=len(done))

        yield progress


def _brief(value: object) -> str:
    shape = getattr(value, "shape", None)
    if shape is not None:
        return f"<{type(value).__name__} {getattr(value, 'dtype', '')} {shape}>"
    if isinstance(value, bytes) and len(value) > 60:
        return f"<{len(value)} bytes>"
    text = repr(value)
    return text if len(text) <= 300 else text[:297] + "..."
