"""Parts of the page that are HTML. All that anybody else wrote goes through `_say`."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from invariant_dask.runtime.dashboard_style import (
    COLOURS,
    show_bytes,
    show_count,
    show_seconds,
)

LIST = 40
"""The most lines of a list on the page; the API has them all."""

_TONES = {"finished": COLOURS["reused"], "running": COLOURS["running"]}
_ENDED = {"finished": "finished", "failed": "failed", "cancelled": "cancelled"}


def node_link(run: str, node: str) -> str:
    """Return the address of a node's own page, seen from the dashboard's pages."""
    return f"invariant/node?run={quote(run, safe='')}&node={quote(node, safe='')}"


def _say(text: object, limit: int = 400) -> str:
    """Return a text as it is to be read, whatever is in it."""
    words = str(text)
    if len(words) > limit:
        words = f"{words[:limit]}..."
    return html.escape(words)


def _node(run: str, node: str, limit: int = 60) -> str:
    return f'<a href="{_say(node_link(run, node), 4000)}">{_say(node, limit)}</a>'


def nothing_yet() -> str:
    return (
        '<div class="head"><b>Invariant</b><span class="soft">no run was seen yet; this page '
        "follows every graph that is computed with this scheduler</span></div>"
    )


def heading(run: Mapping[str, Any]) -> str:
    """Return the name of a run, its state, and how far it is."""
    state = str(run["state"])
    tone = _TONES.get(state, COLOURS["failed"])
    expected = run["expected_seconds"]
    parts = [
        f"<b>{_say(run['graph'] or 'graph', 120)}</b>",
        f'<span class="pill" style="background:{tone}">{_say(_ENDED.get(state, "running"))}</span>',
        f'<span class="soft">run <code>{_say(run["run"], 40)}</code></span>',
        f'<span class="soft">{show_seconds(run["seconds"])}</span>',
    ]
    if expected and state == "running":
        parts.append(f'<span class="soft">ops are expected to take {show_seconds(expected)}</span>')
    if run["store"]:
        parts.append('<span class="grow"></span>')
        parts.append(f'<span class="soft">{_say(run["store"], 120)}</span>')
    error = f'<pre style="max-height:80px">{_say(run["error"], 1000)}</pre>' if run["error"] else ""
    return f'<div class="head">{"".join(parts)}</div>{_bar(run["counts"])}{error}'


def _bar(counts: Mapping[str, int]) -> str:
    order = ("reused", "shared", "ran", "running", "failed", "skipped", "cancelled", "planned")
    total = sum(counts[state] for state in order)
    bits = "".join(
        f'<i style="background:{COLOURS[state]};width:{100 * counts[state] / total:.3f}%" '
        f'title="{state}: {counts[state]}"></i>'
        for state in order
        if counts[state] > 0
    )
    return f'<div class="bar">{bits}</div>'


def tiles(run: Mapping[str, Any]) -> str:
    """Return the numbers that people look for first."""
    counts = run["counts"]
    shown = [
        (state, show_count(counts[state]), COLOURS[state])
        for state in ("ran", "reused", "running", "failed")
    ]
    shown += [
        (state, show_count(counts[state]), COLOURS[state])
        for state in ("planned", "shared", "skipped", "cancelled", "not looked at", "inline")
        if counts[state]
    ]
    shown += [
        ("time saved", show_seconds(run["saved_seconds"]), COLOURS["reused"]),
        ("time in ops", show_seconds(run["busy_seconds"]), COLOURS["ran"]),
        ("bytes made", show_bytes(run["made_bytes"]), COLOURS["ran"]),
        ("bytes reused", show_bytes(run["reused_bytes"]), COLOURS["reused"]),
        ("store hits", show_count(run["hits"]), COLOURS["reused"]),
    ]
    bits = (
        f'<div class="tile" style="--tone:{tone}"><b>{number}</b><span>{name}</span></div>'
        for name, number, tone in shown
    )
    return f'<div class="tiles">{"".join(bits)}</div>'


def ops(run: Mapping[str, Any]) -> str:
    """Return the numbers of each op, those that took longest first."""
    rows = [
        [
            _say(op["op"], 120), show_count(op["nodes"]), show_count(op["running"]),
            show_count(op["ran"]), show_count(op["reused"]), show_count(op["failed"]),
            show_seconds(op["seconds"]), show_seconds(op["mean_seconds"]),
            show_seconds(op["longest_seconds"]), show_seconds(op["saved_seconds"]),
            show_bytes(op["made_bytes"]), show_bytes(op["reused_bytes"]),
        ]
        for op in sorted(run["ops"], key=lambda op: (-op["seconds"], op["op"]))
        if op["nodes"]
    ]  # fmt: skip
    head = (
        "op", "nodes", "running", "ran", "reused", "failed", "time", "mean", "longest", "saved",
        "made", "reused",
    )  # fmt: skip
    return _section("Ops", "time of work, bytes of artifacts", _table(head, rows, range(1, 12)))


def stores(run: Mapping[str, Any]) -> str:
    """Return what each store, or tier of it, answered and took."""
    rows = [
        [
            _say(tier["tier"] or "store", 80), show_count(tier["hits_planned"]),
            show_count(tier["hits_resolved"]), show_bytes(tier["hit_bytes"]),
            show_count(tier["puts"]), show_bytes(tier["put_bytes"]),
            _say(tier["trouble"], 120) if tier["quarantined"] or tier["down"] else "",
        ]
        for tier in run["tiers"]
    ]  # fmt: skip
    head = ("", "by planned", "by resolved", "read", "stored", "written", "trouble")
    return _section("Stores", "hits by digest, bytes", _table(head, rows, numbers=range(1, 6)))


def reasons(run: Mapping[str, Any]) -> str:
    """Return why nodes ran, the commonest reason first."""
    rows = [
        [_say(why["reason"], 300), show_count(why["times"]), _node(run["run"], why["node"])]
        for why in run["reasons"][:LIST]
    ]
    body = _table(("reason", "nodes", "such as"), rows, numbers=(1,))
    return _section("Why nodes ran", "", body)


def failures(run: Mapping[str, Any]) -> str:
    """Return what failed, and what failed before another attempt."""
    rows = [
        [_node(run["run"], each["node"]), _say(each["op"], 60), _say(each["error"], 300)]
        for each in run["failures"][:LIST]
    ]
    rows += [
        [_node(run["run"], each["node"]), f"attempt {each['attempt']}", _say(each["error"], 300)]
        for each in run["retries"][:LIST]
    ]
    return _section("Failures", "", _table(("node", "op", "error"), rows))


def log(run: Mapping[str, Any]) -> str:
    """Return what ops wrote to Python's log, latest first."""
    rows = [
        [_say(line["level"], 12), _node(run["run"], line["node"], 30), _say(line["text"], 300)]
        for line in run["log"][:LIST]
    ]
    return _section("Log", "latest first", _table(("level", "node", "text"), rows))


def key(states: Iterable[str]) -> str:
    """Return which colour is which state."""
    bits = "".join(
        f'<span><i class="dot" style="background:{COLOURS[state]}"></i>{state}</span>'
        for state in states
    )
    return f'<div class="key">{bits}</div>'


def node_summary(run: str, facts: Mapping[str, Any]) -> str:
    """Return what is known of a node, with a link to its own page."""
    title = f"{_node(run, facts['node'], 120)}"
    return f"<h2>{title} <small>{_say(facts['op'], 80)}</small></h2>{node_table(facts)}"


def op_summary(op: str, counts: Mapping[str, int]) -> str:
    """Return how many nodes of an op are in which state."""
    rows = [[key([state]), show_count(count)] for state, count in counts.items() if count > 0]
    return f"<h2>{_say(op, 120)} <small>op</small></h2>{_table((), rows)}"


def node_table(facts: Mapping[str, Any]) -> str:
    """Return the facts of a node that there are, by name."""
    rows = []
    for name, value in facts.items():
        if not value or name in {"node", "op", "inputs", "traceback"}:
            continue
        if name == "state":
            shown = f'<span class="pill" style="background:{COLOURS[value]}">{_say(value)}</span>'
        elif name.endswith("seconds"):
            shown = show_seconds(value)
        elif name == "bytes":
            shown = show_bytes(value)
        elif name in {"planned_digest", "resolved_digest", "artifact"}:
            shown = f"<code>{_say(value)}</code>"
        elif name == "error":
            shown = f"<pre>{_say(value, 6000)}</pre>"
        elif value is True:
            shown = "yes"
        else:
            shown = _say(value, 1000)
        rows.append([name.replace("_", " "), shown])
    return _table((), rows, keys=True)


def _section(title: str, about: str, body: str) -> str:
    return f'<h2>{title} <small>{about}</small></h2><div class="scroll">{body}</div>'


def _table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    numbers: Iterable[int] = (),
    keys: bool = False,
) -> str:
    """Return a table of cells that are HTML already; with `keys`, the first ones are names."""
    if not rows:
        return '<span class="soft">nothing so far</span>'
    right = set(numbers)
    kinds = ["n" if place in right else "w" for place in range(len(rows[0]))]
    kinds[0] = "k" if keys else kinds[0]
    top = "".join(f'<th class="{kinds[place]}">{name}</th>' for place, name in enumerate(head))
    lines = (
        "".join(f'<td class="{kind}">{cell}</td>' for kind, cell in zip(kinds, row, strict=True))
        for row in rows
    )
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table>{f'<tr>{top}</tr>' if top else ''}{body}</table>"
