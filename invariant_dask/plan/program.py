"""What compiling a graph gives: one step per distinct planned digest, in topological order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, TypeAlias

from invariant_dask.core import manifest
from invariant_dask.core.decode import decode
from invariant_dask.core.digest import BlobId, PlannedDigest, ResolvedDigest
from invariant_dask.core.encode import REF_HEAD, Described, Encoded, descriptor_of, encode
from invariant_dask.ops.entry import Op


@dataclass(frozen=True, slots=True)
class Template:
    """A parameter with markers inside: a storage form in which upstream values are slots."""

    storage: bytes
    blobs: dict[BlobId, bytes]

    def describe(self, inputs: Sequence[bytes]) -> bytes:
        """Return the descriptor of the whole, given those of the inputs."""
        slots = [partial(Described, descriptor) for descriptor in inputs]
        value = decode(self.storage, slots=slots, fetch=lambda blob, _: self.blobs[blob])
        return descriptor_of(encode(value).identity)


Payload: TypeAlias = "int | bytes | Encoded | Template"
"""What a parameter is: the slot of an input, a descriptor that is also the storage form, a value
whose forms differ, or a template."""

Part: TypeAlias = "tuple[str, bytes, Payload]"
"""Name, encoded name and payload of one parameter."""


def describe_part(payload: Payload, inputs: Sequence[bytes]) -> bytes:
    """Return the descriptor of a parameter, given those of the inputs."""
    if type(payload) is int:
        return inputs[payload]
    if type(payload) is bytes:
        return payload
    if type(payload) is Encoded:
        return payload.descriptor
    assert isinstance(payload, Template)
    return payload.describe(inputs)


def assemble_manifest(
    op: bytes, parts: Sequence[Part], inputs: Sequence[bytes], private: bytes = b""
) -> bytes:
    """Return the manifest of a step whose inputs have these descriptors."""
    fields = [(key, describe_part(payload, inputs)) for _, key, payload in parts]
    return manifest.assemble(op, fields, private)


@dataclass(slots=True)
class BoundOp:
    """An op as one compilation sees it, with its identity taken once."""

    op: Op
    identity: bytes
    """Identity form of the op's identity; it also names the code on workers."""
    code: str = ""
    """Fingerprint of the code, where the identity is a declared version and it has one."""


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

    @property
    def settled(self) -> bool:
        """Whether nothing is unresolved, so that the planned digest is the resolved one."""
        return not self.inputs

    @property
    def needs(self) -> tuple[int, ...]:
        """All steps that must be done before this one can run."""
        return self.inputs + self.after if self.after else self.inputs

    def manifest(self, inputs: Sequence[bytes]) -> bytes:
        """Return the resolved manifest, given the descriptors of the inputs."""
        return assemble_manifest(self.bound.identity, self.parts, inputs, self.private)

    def resolve(self, inputs: Sequence[bytes]) -> ResolvedDigest:
        """Return the resolved digest, given the descriptors of the inputs."""
        return ResolvedDigest(manifest.digest(self.manifest(inputs)))


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

    @property
    def targets(self) -> tuple[int, ...]:
        """Steps of the outputs, in the order they were asked for."""
        return tuple(self.index[node] for node in self.outputs)

    @cached_property
    def has_private(self) -> bool:
        """Whether any step is ephemeral."""
        return any(step.private for step in self.steps)

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
