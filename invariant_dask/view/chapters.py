"""The chapters of a report that are not about time: asked, reuse, reasons, failures, digests."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from invariant_dask.ledger.events import Event, OpLogged, StoreHit
from invariant_dask.ledger.folding import LINES, NodeState, RunState
from invariant_dask.store.sizes import size_text
from invariant_dask.view.amounts import count_text, moment_text, seconds_text, span_text
from invariant_dask.view.happened import STATE_OF
from invariant_dask.view.reasons import Cause, causes_of
from invariant_dask.view.shell import Cell, Markup, block, facts, fold, listed, note, table, text

MOST_FAILURES = 20
OPEN = 3
"""Of how many failures the traceback is seen at once."""

MOST_LINES = 300
MOST_DIGESTS = 300
MOST_TIERS = 20


def asked(state: RunState) -> str:
    """Return what was asked for, and what was planned."""
    told = state.asked
    pairs: list[tuple[str, Cell]] = [("run", _code(state.run))]
    if told is not None:
        pairs += [
            ("graph", told.graph), ("outputs", listed(told.outputs)),
            ("document", _code(told.document)), ("context", listed(told.context)),
            ("tags", listed(told.tags)), ("rerun", listed(told.rerun)), ("store", told.store),
            ("trusted entries", told.policy), ("writer", told.writer),
        ]  # fmt: skip
    pairs += [("began", moment_text(state.started)), ("ended", moment_text(state.ended))]
    return facts(pairs) + planned(state)


def planned(state: RunState) -> str:
    """Return what was planned."""
    plan = state.plan
    if plan is None:
        return note("Nothing was planned.")
    pairs: list[tuple[str, Cell]] = [
        ("nodes", f"{plan.nodes:,}"), ("to run", f"{plan.to_run:,}"),
        ("shared", f"{plan.shared:,}" if plan.shared else ""), ("reused", f"{plan.reused:,}"),
        ("not looked at", f"{plan.not_looked_at:,}"),
        ("inline", f"{plan.inline:,}" if plan.inline else ""),
        ("undecided", f"{plan.undecided:,}" if plan.undecided else ""),
        ("bytes to load", size_text(plan.to_load)),
        ("expected op time", span_text(plan.expected) if plan.expected else ""),
    ]  # fmt: skip
    stage = f", once {count_text(plan.stage, 'switch', 'switches')} was decided"
    return f"<h3>Plan{stage if plan.stage else ''}</h3>{facts(pairs)}"


def environment(state: RunState) -> str:
    """Return what the run was asked for with."""
    told = state.asked.environment if state.asked is not None else ()
    if not told:
        return note("Nobody told of it.")
    return facts([(name, rest) for name, _, rest in (each.partition(" ") for each in told)])


def reuse(state: RunState, events: Sequence[Event] | None) -> str:
    """Return what reuse saved, and which store did what."""
    reused = [node for node in state.nodes.values() if node.state == "reused"]
    cut_off = sum(node.decision == "run" for node in reused)
    by = Counter(node.by for node in reused)
    pairs: list[tuple[str, Cell]] = [
        ("op time saved", seconds_text(state.saved) if reused else ""),
        ("reused", f"{count_text(len(reused), 'node')}, {size_text(sum(n.size for n in reused))}"),
        ("held by the scheduler", f"{by['scheduler']:,}" if by["scheduler"] else ""),
        (
            "inputs came out the same",
            f"{count_text(cut_off, 'node')} that had to run otherwise" if cut_off else "",
        ),
        ("stored", f"{count_text(state.puts, 'artifact')}, {size_text(state.put_bytes)}"),
    ]
    return facts(pairs) + _tiers(state, events) + _trouble(state)


def _tiers(state: RunState, events: Sequence[Event] | None) -> str:
    if not state.hits:
        return note("No store answered with an artifact.")
    sizes: Counter[str] = Counter()
    for event in events or ():
        if isinstance(event, StoreHit) and event.run == state.run:
            sizes[event.tier] += event.size
    total: Counter[str] = Counter()
    ways: dict[str, Counter[str]] = defaultdict(Counter)
    for (tier, way), count in state.hits.items():
        total[tier] += count
        ways[tier][way] += count
    ranked = sorted(total, key=lambda tier: (-total[tier], tier))
    columns = ["store", "#hits", "#by planned digest", "#by resolved digest"]
    rows = [
        [tier, f"{total[tier]:,}", f"{ways[tier]['planned']:,}", f"{ways[tier]['resolved']:,}"]
        for tier in ranked[:MOST_TIERS]
    ]
    left_out = len(ranked) - MOST_TIERS
    rest = note(f"{count_text(left_out, 'more tier')} left out.") if left_out > 0 else ""
    if events:
        columns.append("#bytes")
        rows = [[*row, size_text(sizes[row[0]])] for row in rows]
    else:
        rest += note(f"{size_text(state.hit_bytes)} in all.")
    return f"<h3>Hits</h3>{table(columns, rows)}{rest}"


def _trouble(state: RunState) -> str:
    rows = [
        *(("does not answer", each.tier, "", each.reason) for each in state.down),
        *(("set aside: damaged", each.tier, each.node, each.reason) for each in state.quarantined),
    ]
    if not rows:
        return ""
    return f"<h3>Trouble</h3>{table(('what', 'store', 'node', 'why'), rows[:50])}{_latest(rows)}"


def _latest(rows: Sequence[object]) -> str:
    return note(f"{len(rows) - 50:,} more left out.") if len(rows) > 50 else ""


def reasons(state: RunState) -> str:
    """Return why nodes ran: root causes first, and how much merely followed."""
    causes, followed = causes_of(state)
    if not causes and not followed:
        return note("Nothing had to run.")
    told = "".join(map(_cause, causes))
    rest = ""
    if followed:
        rest = note(f"{count_text(followed, 'node')} ran only because inputs did.")
    return f'<ul class="causes">{told}</ul>{rest}'


def _cause(cause: Cause) -> str:
    words = "; ".join(cause.words) or "rarer causes"
    then = f", and {cause.followers:,} more that followed" if cause.followers else ""
    nodes = count_text(len(cause.nodes), "node")
    return (
        f"<li><b>{text(words, 1200)}</b><br><span>{text(nodes + then)}: "
        f"{text(listed(cause.nodes, 8), 800)}</span></li>"
    )


def failures(state: RunState) -> str:
    """Return what failed, with tracebacks, and what did not run because of it."""
    failed = sorted(
        (node for node in state.nodes.values() if node.state == "failed"),
        key=lambda node: (node.ended, node.node),
    )
    skipped: dict[str, list[str]] = defaultdict(list)
    for name, node in sorted(state.nodes.items()):
        if node.state == "skipped":
            skipped[node.because].append(name)
    parts = [
        _failure(node, skipped.get(node.node, ()), is_open=place < OPEN)
        for place, node in enumerate(failed[:MOST_FAILURES])
    ]
    if len(failed) > MOST_FAILURES:
        parts.append(note(f"{len(failed) - MOST_FAILURES:,} more failures are left out."))
    if state.failures:
        rows = [
            (each.node, str(each.attempt), each.worker, each.error) for each in state.failures[-50:]
        ]
        many = f": the latest of {LINES} or more" if len(state.failures) >= LINES else ""
        parts.append(f"<h3>Attempts that were followed by another one{many}</h3>")
        parts.append(table(("node", "#attempt", "worker", "error"), rows, most=600))
    return "".join(parts)


def _failure(node: NodeState, skipped: Sequence[str], *, is_open: bool) -> str:
    where = facts([
        ("op", node.op), ("worker", node.worker),
        ("attempts", str(node.attempt) if node.attempt > 1 else ""),
        ("planned digest", _code(node.digest)), ("why it ran", node.why),
        (
            "skipped because of it",
            f"{count_text(len(skipped), 'node')}: {listed(skipped)}" if skipped else "",
        ),
    ])  # fmt: skip
    trace = ""
    if node.traceback:
        trace = fold("traceback", f"<pre>{block(node.traceback)}</pre>", is_open=is_open)
    return (
        f'<article><h3>{_dot("failed")}{text(node.node)}</h3><pre class="what">'
        f"{block(node.error, 4000)}</pre>{where}{trace}</article>"
    )


def log(state: RunState, events: Sequence[Event] | None) -> str:
    """Return what ops logged."""
    lines: Sequence[OpLogged] = state.log
    if events is not None:
        lines = [
            event for event in events if isinstance(event, OpLogged) and event.run == state.run
        ]
        lines = sorted(lines, key=lambda line: line.time)
    if not lines:
        return ""
    rows = [
        (
            span_text(line.time - state.started) if state.started else moment_text(line.time),
            line.level, line.node, line.logger, Markup(block(line.text, 1000)),
        )
        for line in lines[-MOST_LINES:]
    ]  # fmt: skip
    left_out = len(lines) - len(rows)
    rest = ""
    if left_out:
        rest = note(f"{count_text(left_out, 'earlier line')} left out.")
    elif events is None and len(lines) >= LINES:
        rest = note(f"Earlier lines than the latest {LINES} are left out.")
    return table(("#after", "level", "node", "logger", "text"), rows, "log") + rest


def digests(state: RunState) -> str:
    """Return the digests of nodes: outputs first, then what failed."""
    outputs = state.asked.outputs if state.asked is not None else ()
    wanted = set(outputs)
    nodes = sorted(
        state.nodes.values(),
        key=lambda node: (node.node not in wanted, node.state != "failed", node.node),
    )
    rows = [_digest(node, is_output=node.node in wanted) for node in nodes[:MOST_DIGESTS]]
    columns = ("node", "state", "type", "#size", "planned digest, and artifact")
    left_out = len(nodes) - len(rows)
    rest = ""
    if left_out:
        rest = note(
            f"{count_text(left_out, 'more node')} left out; the journal of the run has them all."
        )
    if not rows:
        return note("No node was looked at.")
    told = table(columns, rows) + rest
    return told if len(rows) <= 12 else fold(count_text(len(nodes), "node"), told)


def _digest(node: NodeState, *, is_output: bool) -> tuple[Cell, ...]:
    name: Cell = Markup(f"<b>{text(node.node)}</b>") if is_output else node.node
    state = Markup(f"{_dot(node.state)}{text(node.state)}")
    size = size_text(node.size) if node.artifact else ""
    both = Markup(_code(node.digest).html + _code(node.artifact).html)
    return name, state, node.type, size, both


def tiles(state: RunState) -> Iterator[str]:
    """Yield how many nodes are in each state, as large numbers; others than these are none."""
    for what, count in state.counts().items():
        if count or what in {"ran", "reused", "failed"}:
            css = f"b-{STATE_OF[what].css}" if count else "none"
            yield (
                f'<li class="s {css}" data-state="{text(what)}" data-count="{count}">'
                f"<b>{count:,}</b><span>{text(what)}</span></li>"
            )


def strip(state: RunState) -> str:
    """Return a line that shows what part of the nodes is in each state."""
    counts = {what: count for what, count in state.counts().items() if count}
    total = sum(counts.values())
    if not total:
        return ""
    parts, x = [], 0.0
    for what, count in counts.items():
        width = 1000 * count / total
        parts.append(
            f'<rect class="f-{STATE_OF[what].css}" x="{x:.2f}" y="0" width="{width:.2f}" '
            f'height="10"><title>{text(f"{count:,} {what}")}</title></rect>'
        )
        x += width
    drawn = "".join(parts)
    return (
        '<div class="strip"><svg viewBox="0 0 1000 10" preserveAspectRatio="none" '
        f'aria-hidden="true">{drawn}</svg></div>'
    )


def _dot(state: str) -> str:
    painted = STATE_OF.get(state)
    return f'<span class="dot c-{painted.css}"></span>' if painted is not None else ""


def _code(words: str) -> Markup:
    return Markup(f"<code>{text(words)}</code>" if words else "")
