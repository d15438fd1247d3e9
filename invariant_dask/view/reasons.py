"""Why nodes ran: root causes first, and how much merely followed from each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from invariant_dask.ledger.folding import NodeState, RunState

MOST_CAUSES = 40
"""How many causes are told apart; the rarer ones are counted together."""

_FOLLOWS = "follows from "
_MERELY = "an input runs"


@dataclass(frozen=True, slots=True)
class Cause:
    """Why some nodes ran."""

    words: tuple[str, ...]
    """What differs from the nearest stored result; nothing for causes counted together."""
    nodes: tuple[str, ...]
    """Those it is true of."""
    followers: int
    """How many more ran because those did."""


def causes_of(state: RunState) -> tuple[list[Cause], int]:
    """Return why nodes were to run, what most followed from first, and how many merely followed."""
    planned = {name: node for name, node in state.nodes.items() if node.decision == "run"}
    own = {
        name: words
        for name, node in planned.items()
        if not node.shares and (words := own_words(node))
    }
    sizes = Counter(own.values())
    ranked = sorted(sizes, key=lambda words: (-sizes[words], words))[:MOST_CAUSES]
    places = {words: place for place, words in enumerate(ranked)}
    kinds = {name: places.get(words, MOST_CAUSES) for name, words in own.items()}
    nodes: list[list[str]] = [[] for _ in range(MOST_CAUSES + 1)]
    for name in sorted(own):
        nodes[kinds[name]].append(name)
    followers = [0] * (MOST_CAUSES + 1)
    merely = Counter(roots for name, roots in _roots(planned, kinds) if name not in own)
    for roots, count in merely.items():
        for place in range(MOST_CAUSES + 1):
            followers[place] += count * (roots >> place & 1)
    found = [
        Cause(ranked[place] if place < len(ranked) else (), tuple(names), followers[place])
        for place, names in enumerate(nodes)
        if names
    ]
    found.sort(key=lambda cause: (not cause.words, -cause.followers, -len(cause.nodes)))
    return found, merely.total()


def own_words(node: NodeState) -> tuple[str, ...]:
    """Return the causes of a node that do not merely follow from an input."""
    if node.causes:
        return tuple(cause for cause in node.causes if not cause.startswith(_FOLLOWS))
    return () if node.reason == _MERELY else (node.reason,)


def _roots(planned: Mapping[str, NodeState], kinds: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """Yield each node with a set of bits: the kinds of the causes that it runs because of."""
    roots: dict[str, int] = {}
    opened: set[str] = set()
    for start in sorted(planned):
        stack = [start]
        while stack:
            name = stack[-1]
            if name in roots:
                stack.pop()
                continue
            node = planned[name]
            above = (node.shares,) if node.shares else node.inputs
            if name not in kinds and name not in opened:
                opened.add(name)  # so that nodes that wait for one another come to an end
                stack.extend(each for each in above if each in planned and each not in roots)
                continue
            roots[name] = 1 << kinds[name] if name in kinds else 0
            if name not in kinds:
                for each in above:
                    roots[name] |= roots.get(each, 0)
            yield name, roots[name]
            stack.pop()
