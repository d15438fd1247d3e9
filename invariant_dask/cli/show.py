"""What commands print: plans and runs."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import Any

from click import echo, style

from invariant_dask.plan.plan import Decision, Plan
from invariant_dask.store.sizes import size_text

_STYLES = {
    Decision.RUN: "bold yellow",
    Decision.REUSE: "green",
    Decision.INLINE: "cyan",
    Decision.PRUNED: "dim",
}


def show_plan(plan: Plan, limit: int = 200) -> None:
    """Print a plan as a table, what runs first, with the summary behind."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("decision", "node", "op", "digest", "reason"):
        table.add_column(column, overflow="fold")
    order = list(Decision)
    nodes = sorted(plan.nodes(), key=lambda node: order.index(node.decision))
    for node in nodes[:limit]:
        mark = _STYLES[node.decision]
        table.add_row(
            f"[{mark}]{node.decision.value}[/]",
            escape(node.node),
            escape(node.op),
            node.digest.hex()[:12] if node.digest else "",
            escape("; ".join(node.causes) or node.reason.value),
        )
    console.print(table)
    if len(nodes) > limit:
        console.print(f"... and {len(nodes) - limit} more")
    for line in plan.open_ends():
        console.print(escape(line))
    console.print(f"[bold]{plan.summary()}[/]")
    for line in _costs(plan):
        console.print(escape(line))


def _costs(plan: Plan) -> list[str]:
    cost = plan.cost
    if cost is None or not plan.run:
        return []
    load = [f"{size_text(cost.load_bytes)} to load"] if cost.load_bytes else []
    return ["; ".join([str(cost), *load])]


def plan_as_json(plan: Plan) -> dict[str, Any]:
    """Return a plan as plain JSON: counts, an entry for each node, and what is not known yet."""
    nodes = [
        {
            "node": node.node,
            "op": node.op or None,
            "digest": node.digest.hex() if node.digest else None,
            "decision": node.decision.value,
            "reason": node.reason.value,
            "causes": list(node.causes),
            "shares": node.shares,
        }
        for node in plan.nodes()
    ]
    counts = {decision.value: count for decision, count in plan.counts().items()}
    counts |= {"shared": plan.shared, "undecided": len(plan.undecided)}
    undecided = [{"node": name, "waits_for": list(on)} for name, on in plan.undecided.items()]
    told = {"counts": counts, "nodes": nodes, "undecided": undecided}
    if plan.cost is not None:
        told["cost"] = asdict(plan.cost)
    return told


def show_run(run: Any, *, alone: bool = False) -> None:
    """Print what a run did, why each node ran, and its outputs.

    Parameters
    ----------
    run
        The run.
    alone
        Whether the outputs have standard output for themselves: the rest goes to standard error.
    """
    say = partial(echo, err=alone)
    reasons = run.planned()
    ran = set(run.ran())
    for node in reasons[:50]:
        if node.node in ran:
            why = "; ".join(node.causes) or node.reason.value
            what = "ran" if node.shares is None else "shared"
            say(f"{style(what, fg='yellow')} {node.node}: {why}")
        else:
            say(f"{style('reused', fg='green')} {node.node}: its inputs came out the same")
    if len(reasons) > 50:
        say(f"... and {len(reasons) - 50} more")
    say(f"{style(run.summary(), bold=True)} in {run.seconds:.2f} s")
    if alone:
        return
    for name, value in run.values.items():
        say(f"{style(name, bold=True)} = {_brief(value)}")


@contextmanager
def warnings_in_lines() -> Iterator[None]:
    """Print warnings as lines of their own, without the line of code that they are about."""

    def show(message: Warning | str, *_about: Any, **_more: Any) -> None:
        echo(f"{style('invariant-dask: warning:', fg='yellow')} {message}", err=True)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def _brief(value: object) -> str:
    shape = getattr(value, "shape", None)
    if shape is not None:
        return f"<{type(value).__name__} {getattr(value, 'dtype', '')} {shape}>"
    if isinstance(value, bytes) and len(value) > 60:
        return f"<{len(value)} bytes>"
    text = repr(value)
    return text if len(text) <= 300 else text[:297] + "..."
