"""The critical path: the chain of nodes that took longest, which more workers cannot shorten."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from invariant_dask.ledger.folding import NodeState, RunState


def longest_path(
    durations: Mapping[str, int], inputs: Mapping[str, Iterable[str]]
) -> tuple[int, list[str]]:
    """Return the greatest sum of durations along inputs, and the nodes it is of, first to last.

    Parameters
    ----------
    durations
        By node; none is negative.
    inputs
        The nodes that each waits for; those without a duration are passed over.

    Notes
    -----
    Of equally long paths it is the same one whatever the order of the mappings. Nodes that wait for
    one another, which a damaged journal may tell of, are left out.
    """
    sources = {
        node: sorted({name for name in inputs.get(node, ()) if name in durations})
        for node in sorted(durations)
    }
    waiting = {node: len(names) for node, names in sources.items()}
    consumers: dict[str, list[str]] = {node: [] for node in sources}
    for node, names in sources.items():
        for name in names:
            consumers[name].append(node)
    ready = [node for node, count in waiting.items() if not count]
    sums: dict[str, int] = {}
    before: dict[str, str] = {}
    while ready:
        node = ready.pop()
        best = min(sources[node], key=lambda name: (-sums[name], name), default=None)
        sums[node] = durations[node]
        if best is not None and sums[best]:
            before[node] = best
            sums[node] += sums[best]
        for consumer in consumers[node]:
            waiting[consumer] -= 1
            if not waiting[consumer]:
                ready.append(consumer)
    last = min(sums, key=lambda name: (-sums[name], name), default=None)
    if last is None or not sums[last]:
        return 0, []
    path = [last]
    while path[-1] in before:
        path.append(before[path[-1]])
    return sums[last], path[::-1]


def time_of(node: NodeState) -> int:
    """Return for how many nanoseconds the op of a node was at work in this run."""
    if node.state == "ran":
        return max(0, node.nanoseconds)
    if node.state == "failed" and node.started:
        return max(0, node.ended - node.started)
    return 0


def critical_path(state: RunState) -> tuple[int, list[NodeState]]:
    """Return how long the critical path of a run is, and its nodes, first to last.

    What was reused took no time; what shares the work of an equal node waits for that one.
    """
    durations = {name: time_of(node) for name, node in state.nodes.items()}
    inputs = {
        name: (node.shares,) if node.shares else node.inputs for name, node in state.nodes.items()
    }
    length, path = longest_path(durations, inputs)
    return length, [state.nodes[name] for name in path if durations[name]]
