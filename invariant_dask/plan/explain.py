"""Why a node runs: what its manifest has that the nearest stored one has not.

The nearest stored manifest is one of the same op and the same node id, the one with the fewest
differences. A node that has none was never seen: the records of others are no reason, and named
only where all but one thing agrees. Differences of a node's own come first; what merely follows
from a changed input is told apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from typing import Protocol

from invariant_dask.core import manifest
from invariant_dask.core.manifest import Manifest
from invariant_dask.errors import IntegrityError
from invariant_dask.plan.payload import Payload, ValueUnknownError, describe, no_values
from invariant_dask.plan.plan import Plan, Reason
from invariant_dask.plan.program import Program


class PastNode(Protocol):
    """The explanatory part of a stored record."""

    @property
    def node(self) -> str: ...


class Past(Protocol):
    """A stored record, as far as explaining goes."""

    @property
    def manifest(self) -> bytes: ...

    @property
    def about(self) -> PastNode: ...


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that differs: what it is, what it was and what it is now, in words."""

    what: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.what}: {self.old} -> {self.new}"


Recent = Callable[[str], Sequence[Past]]
"""Returns the latest stored records of an op, `WINDOW` at most."""

WINDOW = 50
"""How many records of an op are looked at."""

_NEVER = "never seen"


Why = Callable[[bytes], str]
"""Returns why the store did not take what it has under a digest, or nothing."""


def explain(plan: Plan, recent: Recent, why: Why) -> dict[int, tuple[str, ...]]:
    """Return, for each step that runs, its causes in words: its own first, then what it follows."""
    past: dict[str, list[tuple[str, Manifest]]] = {}
    causes: dict[int, tuple[str, ...]] = {}
    roots: dict[int, frozenset[int]] = {}
    names = plan.program.nodes_of()
    for index in plan.run:
        step = plan.program.steps[index]
        upstream: set[int] = set()
        for source in step.inputs:
            upstream |= roots.get(source, frozenset())
        reason = plan.reasons[index]
        own: list[str] = []
        refused = "" if reason in {Reason.FORCED, Reason.EPHEMERAL} else _refusal(plan, index, why)
        if refused:
            own = [refused]
        elif reason in {Reason.FORCED, Reason.EPHEMERAL, Reason.LOST}:
            own = [reason.value]
        else:
            op = step.bound.op.name
            if op not in past:
                past[op] = _readable(recent(op))
            own = _own_causes(plan, index, names[index], past[op])
            if not own and reason is Reason.NOT_STORED:
                own = [reason.value]
        roots[index] = frozenset({index}) if own else frozenset(upstream)
        follows = []
        if upstream and not (own and own[0].startswith(_NEVER)):
            follows = [
                f"follows from {_join(sorted(_called(step.node, names[i]) for i in upstream))}"
            ]
        causes[index] = tuple(own + follows)
    return causes


def _readable(records: Iterable[Past]) -> list[tuple[str, Manifest]]:
    read = []
    for record in records:
        with suppress(IntegrityError):  # of somebody who writes what he likes
            read.append((record.about.node, manifest.parse(record.manifest)))
    return read


def _refusal(plan: Plan, index: int, why: Why) -> str:
    """Return why a step runs although there is something stored for it."""
    step = plan.program.steps[index]
    refused = why(step.planned)
    if not refused and not step.derives and all(source in plan.found for source in step.inputs):
        refused = why(step.resolve([plan.found[each].record.descriptor for each in step.inputs]))
    return refused


def _own_causes(
    plan: Plan, index: int, names: Sequence[str], past: Sequence[tuple[str, Manifest]]
) -> list[str]:
    if not past:
        return [_NEVER]
    identity = plan.program.steps[index].bound.identity
    current = _descriptors(plan.program, plan, index)
    same_node = [kept for node, kept in past if node in names]
    if same_node:
        best = min((differences(identity, current, kept) for kept in same_node), key=len)
        return [str(difference) for difference in best]
    node, found = min(
        ((node, differences(identity, current, kept)) for node, kept in past),
        key=lambda nearest: len(nearest[1]),
    )
    everything_known = None not in current.values()
    if not found and everything_known:
        return []  # the record is there, its artifact is not
    alike = len(found) == 1 and sum(value is not None for value in current.values()) > 1
    if len(past) >= WINDOW:  # it may have been seen before those
        return [str(found[0]) if alike else Reason.NOT_STORED.value]
    return [f"{_NEVER}; nearest stored: {node}, with {found[0]}" if alike else _NEVER]


def _called(node: str, names: Sequence[str]) -> str:
    """Return the name of a step that is nearest to a node: the one that it knows it by."""
    if len(names) == 1:
        return names[0]
    folders = node.split("/")

    def shared_with(name: str) -> int:
        pairs = zip(folders, name.split("/"), strict=False)
        return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))

    return max(names, key=shared_with)


def _descriptors(program: Program, plan: Plan, index: int) -> dict[str, bytes | None]:
    """Return the descriptor of each parameter, or None where it is not known yet."""
    step = program.steps[index]
    inputs = [
        plan.found[source].record.descriptor if source in plan.found else None
        for source in step.inputs
    ]
    return {name: _descriptor(payload, inputs) for name, _, payload in step.parts}


def _descriptor(payload: Payload, inputs: list[bytes | None]) -> bytes | None:
    if type(payload) is int:
        return inputs[payload]
    try:
        if None in inputs:
            # Good for what takes no inputs.
            return describe(payload, (), no_values)
        return describe(payload, [each for each in inputs if each is not None], no_values)
    except (ValueUnknownError, IndexError):
        return None


def differences(op: bytes, current: Mapping[str, bytes | None], kept: Manifest) -> list[Difference]:
    """Return what differs between a step and a stored manifest, the code first."""
    found = _op_differences(op, kept) if op != kept.op else []
    for name, descriptor in current.items():
        if name not in kept.params:
            new = "an input" if descriptor is None else manifest.render(descriptor)
            found.append(Difference(f"parameter {name}", "absent", new))
        elif descriptor is not None and descriptor != kept.params[name]:
            old, new = manifest.render(kept.params[name]), manifest.render(descriptor)
            found.append(Difference(f"parameter {name}", old, new))
    found.extend(
        Difference(f"parameter {name}", manifest.render(kept.params[name]), "absent")
        for name in kept.params
        if name not in current
    )
    return found


def _op_differences(op: bytes, kept: Manifest) -> list[Difference]:
    new, old = manifest.render_value(op), kept.op_value
    if not (isinstance(new, list) and len(new) == len(old) == 4):
        return [Difference("op", repr(old), repr(new))]
    found = []
    if new[1:3] != old[1:3]:
        what = {"code": "code", "version": "version"}.get(str(new[1]), "distribution")
        found.append(Difference(what, str(old[2])[:24], str(new[2])[:24]))
    for name in sorted({*old[3], *new[3]}):
        if old[3].get(name) != new[3].get(name):
            before, after = old[3].get(name, "absent"), new[3].get(name, "absent")
            found.append(Difference(f"distribution {name}", before, after))
    return found


def _join(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
