"""What compiling a graph gives: one step per distinct planned digest, in topological order."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

from invariant_dask.core import manifest
from invariant_dask.core.cbor import REF_HEAD
from invariant_dask.core.digest import PlannedDigest, ResolvedDigest
from invariant_dask.core.encode import Encoded
from invariant_dask.errors import ExpressionError
from invariant_dask.graph.composite import Vertex
from invariant_dask.ops.contracts import Contract
from invariant_dask.ops.entry import Op
from invariant_dask.ops.surroundings import FixedSurroundings
from invariant_dask.ops.table import OpTable
from invariant_dask.plan.payload import (
    Payload,
    ValueOf,
    describe,
    no_values,
    unexplained,
    value_of_payload,
)

Part: TypeAlias = "tuple[str, bytes, Payload]"
"""Name, encoded name and payload of one parameter."""


def assemble_manifest(
    op: bytes,
    parts: Sequence[Part],
    inputs: Sequence[bytes],
    private: bytes = b"",
    value_of: ValueOf | None = no_values,
) -> bytes:
    """Return the manifest of a step whose inputs have these descriptors and values."""
    fields = []
    for _, key, payload in parts:
        kind = type(payload)
        if kind is int:
            fields.append((key, inputs[payload]))  # type: ignore[index]
        elif kind is bytes:
            fields.append((key, payload))  # type: ignore[arg-type]
        else:
            fields.append((key, describe(payload, inputs, value_of)))
    return manifest.assemble(op, fields, private)


@dataclass(slots=True)
class BoundOp:
    """An op as one compilation sees it, with its identity taken once."""

    op: Op
    identity: bytes
    """Identity form of the op's identity; it also names the code on workers."""
    code: str = ""
    """Fingerprint of the code, where the identity is a declared version and it has one."""
    contract: Contract | None = None
    """What its type hints say, if anything."""


BindOp = Callable[[str], BoundOp]
"""Returns an op by its name, with its identity; raises `UnknownOpError` if there is none."""


def bind_op(registry: OpTable, name: str) -> BoundOp:
    """Return a registered op with the identity that it has now.

    Raises
    ------
    UnknownOpError
        If no op has that name.
    CodeIdentityError
        If it has no identity.
    """
    op = registry.get(name)
    identity = op.identity()
    declared = identity.kind == "version" and identity.code is not None
    code = identity.code.digest if declared and identity.code is not None else ""
    return BoundOp(op, identity.encode(), code, op.contract)


@dataclass(slots=True)
class Step:
    """The work behind one planned digest."""

    node: str
    """Id of the first node that asks for it."""
    bound: BoundOp
    planned: PlannedDigest
    parts: tuple[Part, ...]
    inputs: tuple[int, ...]
    """Indices of the steps whose artifacts enter, by slot."""
    after: tuple[int, ...]
    """Indices of the steps that only have to be done before."""
    private: bytes
    """Third item of the manifest of an ephemeral step; empty for all others."""
    hints: Mapping[str, Any] | None
    derives: bool = False
    """Whether it takes values of inputs, not only descriptors, to resolve it."""
    volatile: bool = False
    """Whether it runs in every run."""
    written: str = ""
    """How its parameters were written, where they are no literals; see `plan.written`."""

    @property
    def settled(self) -> bool:
        """Whether nothing is unresolved, so that the planned digest is the resolved one."""
        return not self.inputs

    @property
    def needs(self) -> tuple[int, ...]:
        """All steps that must be done before this one can run."""
        return self.inputs + self.after if self.after else self.inputs

    def resolve(self, inputs: Sequence[bytes], value_of: ValueOf = no_values) -> ResolvedDigest:
        """Return the resolved digest, given the descriptors of the inputs, and values if need be.

        Raises
        ------
        ValueUnknownError, ExpressionError, NotCacheableError
            As for `payload.describe`.
        """
        made = assemble_manifest(self.bound.identity, self.parts, inputs, self.private, value_of)
        return ResolvedDigest(manifest.digest(made))


class OpenSwitch(NamedTuple):
    """A switch whose selector takes a run to know."""

    name: str
    selector: Payload
    inputs: tuple[int, ...]
    """The steps that the selector numbers."""


@dataclass
class Program:
    """A compiled graph. Steps only ever name steps before them."""

    steps: list[Step]
    index: dict[str, int]
    """Step of each active node, but for those that were evaluated while compiling."""
    inlined: dict[str, Encoded]
    """Values of inline nodes that were evaluated while compiling."""
    outputs: tuple[str, ...]
    name: str = ""
    open: tuple[OpenSwitch, ...] = ()
    """Switches that have to be decided before the outputs are known."""
    nonce: bytes = b""
    """What keeps this program apart from others, where it must not meet them."""
    graph: Mapping[str, Vertex] = field(default_factory=dict, repr=False)
    """The vertices that it was compiled from, for those who draw it."""

    @property
    def targets(self) -> tuple[int, ...]:
        """Steps of the outputs, in the order they were asked for."""
        return tuple(self.index[node] for node in self.outputs)

    @cached_property
    def has_private(self) -> bool:
        """Whether any step is ephemeral."""
        return any(step.private for step in self.steps)

    def renewed(self, nonce: bytes) -> Program:
        """Return the same program, with ephemeral steps that have met nobody yet.

        Parameters
        ----------
        nonce
            Bytes that keep them apart from those of any other run.
        """
        steps = list(self.steps)
        for index, step in enumerate(steps):
            if step.private:  # and so is all that is made from it
                private = manifest.private_item(step.node, nonce)
                inputs = [reference(steps[source].planned) for source in step.inputs]
                made = assemble_manifest(step.bound.identity, step.parts, inputs, private, None)
                planned = PlannedDigest(manifest.digest(made))
                steps[index] = replace(step, planned=planned, private=private)
        return replace(self, steps=steps, nonce=nonce)

    def selectors(self, also: Collection[int] = ()) -> Program:
        """Return the program of what the open switches have to know.

        With it goes what would come out differently if it were made once more in the same run,
        as `also` would.
        """
        wanted = sorted({*also, *self.deciding()})
        return replace(self, outputs=tuple(self.steps[step].node for step in wanted), open=())

    def deciding(self) -> set[int]:
        """Return the steps that open switches read, or that only happen once in a run."""
        wanted = {step for switch in self.open for step in switch.inputs}
        wanted.update(i for i, step in enumerate(self.steps) if step.private or step.volatile)
        return wanted

    def decide(self, values: Mapping[str, Any]) -> dict[str, str]:
        """Return the case of each open switch, given the values of the `selectors` program.

        Raises
        ------
        ExpressionError
            If a selector has no value, or none that names a case.
        """
        decisions = {}
        for switch in self.open:
            named = [values[self.steps[step].node] for step in switch.inputs]
            with FixedSurroundings(), unexplained(switch.selector):
                value = value_of_payload(switch.selector, named.__getitem__)
            decisions[switch.name] = case_text(switch.name, value)
        return decisions

    def nodes_of(self) -> dict[int, list[str]]:
        """Return the node ids behind each step."""
        nodes: dict[int, list[str]] = {}
        for node, index in self.index.items():
            nodes.setdefault(index, []).append(node)
        return nodes

    def descendants(self, roots: Iterable[int]) -> set[int]:
        """Return the steps that depend on `roots` through their inputs, without the roots."""
        tainted = set(roots)
        found: set[int] = set()
        for index, step in enumerate(self.steps):
            if any(source in tainted for source in step.inputs):
                tainted.add(index)
                found.add(index)
        return found


def reference(planned: PlannedDigest) -> bytes:
    """Return the placeholder of an upstream step in a planned manifest."""
    return REF_HEAD + planned


def case_text(switch: str, value: object) -> str:
    """Return the text that names the case of a switch for the value of its selector.

    Raises
    ------
    ExpressionError
        If the value has no such text.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, str | int | Decimal):
        return str(value)
    msg = (
        f"switch {switch!r}: the selector is of type {type(value).__name__}; it must be a str, "
        "bool, None, int or Decimal"
    )
    raise ExpressionError(msg)
