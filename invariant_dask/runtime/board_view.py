"""What a board says, as JSON: the page and `/invariant/api` say the same because both ask here."""

from __future__ import annotations

from typing import Any

from invariant_dask.ledger.folding import STATES, NodeState
from invariant_dask.runtime.board import Board
from invariant_dask.runtime.board_run import OpTally, WatchedRun

SCHEMA = 1
"""The version of this form."""


def overview(board: Board) -> dict[str, Any]:
    """Return all runs in short, and the latest one in full."""
    latest = board.latest
    return {
        "schema": SCHEMA,
        "runs": [summary(run, board.clock()) for run in reversed(board.runs.values())],
        "latest": None if latest is None else details(latest, board.clock()),
        "events": board.received,
        "dropped": board.dropped,
    }


def counts(run: WatchedRun) -> dict[str, int]:
    """Return how many nodes are in each state, those that nobody looked at too."""
    plan = run.state.plan
    told = sum(run.counts.values())
    found = {state: run.counts[state] for state in reversed(STATES)}
    inline = 0 if plan is None else plan.inline
    found["not looked at"] = 0 if plan is None else max(0, plan.nodes - inline - told)
    found["inline"] = inline
    return found


def summary(run: WatchedRun, now: int) -> dict[str, Any]:
    """Return a run in short; `now` is how far one that has not ended goes."""
    state = run.state
    started = state.started or run.latest
    seconds = state.seconds or max(0, (state.ended or max(now, started)) - started) / 1e9
    ops = run.ops.values()
    return {
        "run": run.run,
        "graph": "" if state.asked is None else state.asked.graph,
        "store": "" if state.asked is None else state.asked.store,
        "outputs": [] if state.asked is None else list(state.asked.outputs),
        "state": state.state,
        "error": state.error,
        "started": started / 1e9,
        "seconds": round(seconds, 3),
        "counts": counts(run),
        "exact": run.exact,
        "busy_seconds": sum(op.nanoseconds for op in ops) / 1e9,
        "saved_seconds": sum(op.saved for op in ops) / 1e9,
        "expected_seconds": 0.0 if state.plan is None else state.plan.expected / 1e9,
        "made_bytes": sum(op.size for op in ops),
        "reused_bytes": sum(op.loaded for op in ops),
        "hits": sum(tier.planned + tier.resolved for tier in run.tiers.values()),
    }


def details(run: WatchedRun, now: int) -> dict[str, Any]:
    """Return a run with its ops, stores, reasons, failures and latest log lines."""
    return summary(run, now) | {
        "ops": [op_row(op) for op in sorted(run.ops.values(), key=lambda each: each.op)],
        "tiers": [tier_row(run, tier) for tier in run.tiers],
        "reasons": [
            {"reason": why.words, "times": why.times, "node": why.node, "op": why.op}
            for why in sorted(run.reasons.values(), key=lambda why: -why.times)
        ],
        "recent": [
            {"node": node.node, "op": node.op, "reason": node.why} for node in reversed(run.recent)
        ],
        "failures": [
            {"node": node.node, "op": node.op, "digest": node.digest, "error": node.error}
            for node in reversed(run.failed)
            if node.state == "failed"
        ],
        "retries": [
            {"node": each.node, "attempt": each.attempt, "error": each.error}
            for each in reversed(run.state.failures)
        ],
        "log": [
            {"node": line.node, "level": line.level, "logger": line.logger, "text": line.text}
            for line in reversed(run.state.log)
        ],
    }


def op_row(op: OpTally) -> dict[str, Any]:
    """Return the numbers of one op."""
    ran = op.counts["ran"]
    return {
        "op": op.op,
        "nodes": sum(op.counts.values()),
        "running": op.counts["running"],
        "ran": ran,
        "reused": op.counts["reused"],
        "failed": op.counts["failed"],
        "seconds": op.nanoseconds / 1e9,
        "mean_seconds": op.nanoseconds / ran / 1e9 if ran else 0.0,
        "longest_seconds": op.longest / 1e9,
        "saved_seconds": op.saved / 1e9,
        "made_bytes": op.size,
        "reused_bytes": op.loaded,
    }


def tier_row(run: WatchedRun, name: str) -> dict[str, Any]:
    """Return the numbers of one store, or tier of it."""
    tier = run.tiers[name]
    return {
        "tier": tier.tier,
        "hits_planned": tier.planned,
        "hits_resolved": tier.resolved,
        "hit_bytes": tier.hit_bytes,
        "puts": tier.puts,
        "put_bytes": tier.put_bytes,
        "quarantined": tier.quarantined,
        "down": tier.down,
        "trouble": tier.trouble,
    }


def node_facts(node: NodeState) -> dict[str, Any]:
    """Return all that is known of a node, in the order in which people ask for it."""
    return {
        "node": node.node,
        "op": node.op,
        "state": node.state,
        "reason": node.why,
        "shares": node.shares,
        "because": node.because,
        "planned_digest": node.digest,
        "resolved_digest": node.resolved,
        "artifact": node.artifact,
        "type": node.type,
        "bytes": node.size,
        "kept": node.kept,
        "found_by": node.by,
        "tier": node.tier,
        "seconds": node.nanoseconds / 1e9,
        "saved_seconds": node.saved / 1e9,
        "attempt": node.attempt,
        "worker": node.worker,
        "inputs": list(node.inputs),
        "error": node.error,
        "traceback": node.traceback,
    }
