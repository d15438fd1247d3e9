"""The chapters of a report about time: timeline, critical path, ops, slowest nodes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from invariant_dask.ledger.events import Event
from invariant_dask.ledger.folding import NodeState, RunState
from invariant_dask.store.sizes import size_text
from invariant_dask.view.amounts import count_text, share_text, span_text
from invariant_dask.view.bars import bars_of, rows_of
from invariant_dask.view.critical import critical_path, time_of
from invariant_dask.view.gantt import MOST_ROWS, Colours, gantt, is_aggregated
from invariant_dask.view.shell import Cell, Markup, note, table, text

MOST_STEPS = 40
"""How many nodes of the critical path are listed."""

MOST_OPS = 40
MOST_SLOW = 20


def timeline(state: RunState, events: Sequence[Event] | None) -> str:
    """Return when each worker was at what."""
    bars = bars_of(state, events)
    if not bars:
        return note("No op was called.")
    rows = rows_of(bars)
    colours = Colours(bar for bar in bars if bar.how == "ran")
    first = bars[0].start
    start = min(state.started, first) if state.started else first
    if first - start > 10 * (max(bar.end for bar in bars) - first + 10**9):
        start = first  # a worker whose clock is ahead
    end = max(bar.end for bar in bars)
    legend = list(colours.legend())
    legend += [
        (f"bar-{how}", words)
        for how, words in (
            ("failed", "failed"), ("again", "failed, and was called again"), ("running", "running")
        )
        if any(bar.how == how for bar in bars)
    ]  # fmt: skip
    swatches = "".join(
        f'<li><svg class="key" viewBox="0 0 11 11" aria-hidden="true"><rect class="{css}" '
        f'width="11" height="11" rx="2"/></svg>{text(words)}</li>'
        for css, words in legend
    )
    remarks = []
    if is_aggregated(rows):
        remarks.append(
            f"{count_text(len(bars), 'call')} are too many to draw each: the height says what part "
            "of a worker was at work."
        )
        if len(rows) > MOST_ROWS:
            remarks.append(f"The {MOST_ROWS - 1} busiest workers have rows of their own.")
    drawn = gantt(rows, colours, start, end)
    told = note(" ".join(remarks)) if remarks else ""
    return f'<ul class="legend">{swatches}</ul><div class="wide">{drawn}</div>{told}'


def critical(state: RunState) -> str:
    """Return the chain of nodes that took longest."""
    length, path = critical_path(state)
    if not path:
        return ""
    took = round(state.seconds * 1e9)
    lead = f"{count_text(len(path), 'node')} one after the other took {span_text(length)}"
    if took > 0:
        lead += (
            f", {share_text(length, took)} of the {span_text(took)} that the run took: it cannot "
            "be faster than that, however many workers there are"
        )
    shown = set(sorted(range(len(path)), key=lambda at: (-time_of(path[at]), at))[:MOST_STEPS])
    rows = [_step(state, path, at, length) for at in sorted(shown)]
    left_out = len(path) - len(shown)
    rest = note(f"{count_text(left_out, 'shorter one')} left out.") if left_out else ""
    columns = ("", "node", "op", "#took", "#waited before", "worker")
    return f"<p>{text(lead)}.</p>{table(columns, rows)}{rest}"


def _step(state: RunState, path: Sequence[NodeState], at: int, length: int) -> tuple[Cell, ...]:
    node = path[at]
    took = time_of(node)
    above = (state.nodes[name] for name in node.inputs if name in state.nodes)
    ready = max([state.started, *(each.ended for each in above if each.state == "ran")])
    waited = span_text(max(0, node.started - ready)) if node.started and ready else ""
    return _share(took, length), node.node, node.op, span_text(took), waited, node.worker


def _share(part: float, whole: float) -> Markup:
    width = 90 * part / whole if whole else 0
    return Markup(
        '<svg class="share" viewBox="0 0 90 9" aria-hidden="true"><rect class="all" width="90" '
        f'height="9" rx="2"/><rect class="part" width="{width:.1f}" height="9" rx="2"/></svg>'
    )


@dataclass(slots=True)
class OfOp:
    """What happened to the nodes of an op."""

    ran: int = 0
    reused: int = 0
    shared: int = 0
    failed: int = 0
    other: int = 0
    nanoseconds: int = 0
    slowest: int = 0
    size: int = 0
    saved: int = 0

    def add(self, node: NodeState) -> None:
        """Count a node."""
        if node.state in {"ran", "reused", "shared", "failed"}:
            setattr(self, node.state, getattr(self, node.state) + 1)
        else:
            self.other += 1
        took = time_of(node)
        self.nanoseconds += took
        self.slowest = max(self.slowest, took)
        if node.state == "ran":
            self.size += node.size
        if node.state == "reused":
            self.saved += node.saved

    def merge(self, other: OfOp) -> None:
        """Add what happened to the nodes of another op."""
        for name in self.__slots__:
            if name != "slowest":
                setattr(self, name, getattr(self, name) + getattr(other, name))
        self.slowest = max(self.slowest, other.slowest)


def by_op(nodes: Iterable[NodeState]) -> dict[str, OfOp]:
    """Return what happened to the nodes of each op."""
    ops: dict[str, OfOp] = {}
    for node in nodes:
        ops.setdefault(node.op, OfOp()).add(node)
    return ops


def ops(state: RunState) -> str:
    """Return what happened by op, those that took longest first."""
    found = by_op(state.nodes.values())
    if not found:
        return note("No node was looked at.")
    ranked = sorted(found, key=lambda op: (-found[op].nanoseconds, -found[op].saved, op))
    rows = [(op or "(not known)", found[op]) for op in ranked[:MOST_OPS]]
    if len(ranked) > MOST_OPS:
        rest = OfOp()
        for op in ranked[MOST_OPS:]:
            rest.merge(found[op])
        rows.append((count_text(len(ranked) - MOST_OPS, "other op"), rest))
    busy = sum(of.nanoseconds for of in found.values())
    columns = (
        "", "op", "#ran", "#reused", "#shared", "#failed", "#other", "#took in all", "#mean",
        "#longest", "#made", "#saved",
    )  # fmt: skip
    told = table(columns, [_op_row(op, of, busy) for op, of in rows])
    slow = sorted(state.nodes.values(), key=lambda node: (-time_of(node), node.node))[:MOST_SLOW]
    slow = [node for node in slow if time_of(node)]
    if not slow:
        return told
    about_nodes = ("", "node", "op", "#took", "#size", "#attempts", "worker")
    longest = time_of(slow[0])
    rows_of_nodes = [
        (
            _share(time_of(node), longest), node.node, node.op, span_text(time_of(node)),
            size_text(node.size) if node.state == "ran" else node.state,
            str(max(1, node.attempt)), node.worker,
        )
        for node in slow
    ]  # fmt: skip
    return f"{told}<h3>Slowest nodes</h3>{table(about_nodes, rows_of_nodes)}"


def _op_row(op: str, of: OfOp, busy: int) -> tuple[Cell, ...]:
    calls = of.ran + of.failed
    numbers = (of.ran, of.reused, of.shared, of.failed, of.other)
    return (
        _share(of.nanoseconds, busy), op, *(f"{count:,}" if count else "" for count in numbers),
        span_text(of.nanoseconds) if calls else "",
        span_text(of.nanoseconds // calls) if calls else "",
        span_text(of.slowest) if calls else "", size_text(of.size) if of.ran else "",
        span_text(of.saved) if of.saved else "",
    )  # fmt: skip
