"""What the commands of `runs` print, for people and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from invariant_dask.store.sizes import SECOND, age_text, size_text

if TYPE_CHECKING:
    from invariant_dask.ledger.comparing import NodeDifference
    from invariant_dask.ledger.rows import FlowRun, NodeRun

_COLOURS = {
    "finished": "green", "ran": "green", "reused": "blue", "shared": "cyan", "running": "yellow",
    "failed": "red", "skipped": "magenta", "cancelled": "magenta", "interrupted": "red",
}  # fmt: skip
_FIRST = ("failed", "skipped", "cancelled", "running", "planned", "ran", "shared", "reused")
_NOT_DONE = {"planned", "running"}
_ID = 12
_NAME = 40


def clean(text: str, width: int = 0) -> str:
    """Return a text that cannot steer a terminal, in one line, cut to a width."""
    shown = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )
    return shown if not width or len(shown) <= width else shown[: width - 1] + "\u2026"


def counts_text(counts: Mapping[str, int]) -> str:
    """Return how many nodes are in which state, of those states that there are."""
    return ", ".join(f"{count} {clean(state)}" for state, count in counts.items() if count)


def list_of_runs(found: Sequence[FlowRun], now: int, *, has_more: bool) -> str:
    """Return what `ls` prints."""
    if not found:
        return "no such run\n"
    ids = [clean(run.id if len(run.id) <= _ID + 4 else run.id[:_ID]) for run in found]
    graphs = [clean(run.graph or "-", _NAME) for run in found]
    width, wide = max(map(len, ids)), max(map(len, graphs))
    lines = [
        f"{name:{width}}  {age_text(now - run.started):>7} ago  {_state(run.state, 11)}  "
        f"{graph:{wide}}  {_duration(run):>8}  {counts_text(run.counts)}".rstrip()
        for name, graph, run in zip(ids, graphs, found, strict=True)
    ]
    if has_more:
        lines.append("... and more: --limit 0 lists all")
    return "".join(line + "\n" for line in lines)


def run(told: FlowRun, nodes: Sequence[NodeRun], limit: int) -> str:
    """Return what `show` and `replay` print."""
    lines = [f"{click.style(clean(told.id), bold=True)}  {_state(told.state)}"]
    facts = {
        "graph": told.graph,
        "outputs": ", ".join(told.outputs[:10]) + (", ..." if len(told.outputs) > 10 else ""),
        "tags": ", ".join(told.tags),
        "context": ", ".join(told.context),
        "store": told.store,
        "writer": told.writer,
        "digest": told.document,
        "started": _date(told.started),
        "took": _duration(told),
        "error": told.error,
    }
    lines += [f"  {name:8} {clean(fact)}" for name, fact in facts.items() if fact]
    lines.append(f"  {'nodes':8} {counts_text(told.counts) or 'none'}")
    lines.append(f"  {'ops took':8} {_seconds(told.busy)}; reuse saved {_seconds(told.saved)}")
    if told.state in {"running", "interrupted"}:
        done = sum(node.state not in _NOT_DONE for node in nodes)
        lines.append(f"  {'so far':8} {done} of {len(nodes)} nodes were finished")
    if nodes:
        lines += ["", *_table(nodes, limit)]
    return "\n".join(lines) + "\n"


def _table(nodes: Sequence[NodeRun], limit: int) -> list[str]:
    ranked = sorted(nodes, key=lambda node: (_rank(node.state), node.ended, node.node))
    listed = ranked[:limit] if limit > 0 else ranked
    names = [clean(node.node, _NAME) for node in listed]
    ops = [clean(node.op, _NAME) for node in listed]
    width, wide = max(map(len, names), default=0), max(map(len, ops), default=0)
    lines = [
        f"{_state(node.state, 9)}  {name:{width}}  {op:{wide}}  {_took(node):>8}  "
        f"{size_text(node.size) if node.artifact else '':>8}  {clean(_remark(node), 100)}".rstrip()
        for name, op, node in zip(names, ops, listed, strict=True)
    ]
    if len(ranked) > len(listed):
        lines.append(f"... and {len(ranked) - len(listed)} more: --limit 0 lists all")
    return lines


def _remark(node: NodeRun) -> str:
    if node.error:
        return node.error
    return f"{node.because} failed" if node.because else node.why


def differences(
    before: FlowRun, after: FlowRun, found: Sequence[NodeDifference], *, everything: bool
) -> str:
    """Return what `diff` prints."""
    lines = [
        f"{mark} {clean(each.id)}  {_state(each.state)}  {_date(each.started)}  "
        f"{_duration(each) or 'no end'}  {counts_text(each.counts)}"
        for mark, each in (("A", before), ("B", after))
    ]
    if before.document != after.document:
        lines.append("  not the same was asked: the digests of the outputs differ")
    lines.append("")
    only_state: Counter[tuple[str, str]] = Counter()
    for each in found:
        if each.differs == ("state",) and not everything and _is_well(each):
            assert each.before is not None
            assert each.after is not None
            only_state[each.before.state, each.after.state] += 1
        else:
            lines += _difference(each)
    for (one, other), count in sorted(only_state.items()):
        nodes = "1 node" if count == 1 else f"{count} nodes"
        lines.append(f"{nodes} with the same digest: {one} -> {other}")
    if not found:
        lines.append("no node differs")
    return "\n".join(lines) + "\n"


def _is_well(each: NodeDifference) -> bool:
    well = {"ran", "reused", "shared"}
    states = {node.state for node in (each.before, each.after) if node is not None}
    return states <= well


def _difference(each: NodeDifference) -> list[str]:
    name = click.style(clean(each.node, _NAME), bold=True)
    one, other = each.before, each.after
    if one is None or other is None:
        there = other or one
        assert there is not None
        mark = "+" if one is None else "-"
        remark = f"{clean(there.op, _NAME)}  {_state(there.state)}  {clean(_remark(there), 100)}"
        return [f"{mark} {name}  {remark}".rstrip()]
    lines = [f"~ {name}  {_change(one.state, other.state)}  {_change(_took(one), _took(other))}"]
    lines[0] = lines[0].rstrip()
    for field in each.differs:
        if field != "state":
            old, new = (clean(str(getattr(node, field)), _NAME) or "-" for node in (one, other))
            short = _ID if field in {"digest", "resolved", "artifact"} else _NAME
            lines.append(f"    {field:8}  {old[:short]} -> {new[:short]}")
    if other.why and other.state != "reused":
        lines.append(f"    {'why':8}  {clean(other.why, 100)}")
    return lines


def _change(old: str, new: str) -> str:
    return old if old == new else f"{old or '-'} -> {new or '-'}"


def run_as_json(told: FlowRun) -> dict[str, Any]:
    """Return a run as plain JSON."""
    return asdict(told)


def told_as_json(told: FlowRun, nodes: Sequence[NodeRun]) -> dict[str, Any]:
    """Return a run and its nodes as plain JSON."""
    return {**asdict(told), "nodes": [asdict(node) for node in nodes]}


def differences_as_json(
    before: FlowRun, after: FlowRun, found: Sequence[NodeDifference]
) -> dict[str, Any]:
    """Return what differs between two runs as plain JSON."""
    return {"a": asdict(before), "b": asdict(after), "nodes": [asdict(each) for each in found]}


def _rank(state: str) -> int:
    return _FIRST.index(state) if state in _FIRST else len(_FIRST)


def _state(state: str, width: int = 0) -> str:
    return click.style(f"{clean(state):{width}}", fg=_COLOURS.get(state))


def _took(node: NodeRun) -> str:
    if node.nanoseconds:
        return _seconds(node.nanoseconds / SECOND)
    return ""


def _duration(told: FlowRun) -> str:
    return _seconds(told.seconds) if told.ended else ""


def _seconds(seconds: float) -> str:
    if 0 < seconds < 0.001:
        return f"{seconds * 1e6:.0f} \u00b5s"
    if 0 < seconds < 1:
        return f"{seconds * 1e3:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 600 else age_text(int(seconds * SECOND))


def _date(nanoseconds: int) -> str:
    try:
        when = datetime.fromtimestamp(nanoseconds / SECOND).astimezone()
    except (OverflowError, OSError, ValueError):
        return f"{nanoseconds} ns after 1970"
    return when.isoformat(" ", timespec="seconds") if nanoseconds else ""
