"""Compile a graph: check it, bind parameters to ops, and give every node its planned digest.

Pure: what a file holds comes from an injected resolver, and the nonce of ephemeral nodes from the
caller. The inner loop runs once per node, so it looks plain values up by exact type and leaves
everything else to the encoder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NoReturn

from invariant_dask.core import manifest
from invariant_dask.core.decode import decode
from invariant_dask.core.digest import PlannedDigest
from invariant_dask.core.encode import (
    SCALARS,
    TAG_SLOT,
    Blobs,
    Encoded,
    Handler,
    Pair,
    descriptor_of,
    encode,
    encode_int,
    head,
)
from invariant_dask.core.files import File, FileContent
from invariant_dask.errors import GraphError, NotCacheableError, UnknownOpError
from invariant_dask.graph.markers import Ref
from invariant_dask.graph.node import Node
from invariant_dask.graph.resolve import active_order, check_graph, choose_outputs
from invariant_dask.ops.registry import OpRegistry
from invariant_dask.ops.surroundings import FixedSurroundings
from invariant_dask.plan.program import BoundOp, Part, Payload, Program, Step, Template, reference

FileResolver = Callable[[File], FileContent]

_SLOT = head(6, TAG_SLOT)


def compile_graph(
    graph: Mapping[str, Node],
    outputs: Iterable[str | Ref] | None = None,
    context: Mapping[str, object] | None = None,
    *,
    registry: OpRegistry,
    resolve_file: FileResolver,
    nonce: bytes = b"",
) -> Program:
    """Check the active part of a graph and give every node in it its planned digest.

    Parameters
    ----------
    graph
        Nodes by id.
    outputs
        Ids to produce, or markers of them; by default all nodes that no other depends on.
    context
        External values by name, for markers that name no node.
    registry
        Where ops are looked up.
    resolve_file
        Returns what a file holds.
    nonce
        Bytes that keep ephemeral nodes apart from those of any other run.

    Raises
    ------
    SpecError
        A leaf of it for whatever is wrong; nothing has run by then.
    """
    graph = check_graph(graph)
    context = context or {}
    chosen = choose_outputs(graph, outputs)
    order = active_order(graph, chosen, context)
    compiler = _Compiler(graph, set(chosen), context, registry, resolve_file, nonce)
    for node_id in order:
        compiler.add(node_id, graph[node_id])
    return Program(
        compiler.steps,
        compiler.index,
        compiler.inlined,
        chosen,
        getattr(graph, "name", ""),
    )


class _LeftToTaskError(Exception):
    pass


def _leave(_content: FileContent) -> NoReturn:
    # Only a task opens files.
    raise _LeftToTaskError


class _Compiler:
    def __init__(
        self,
        graph: Mapping[str, Node],
        outputs: set[str],
        context: Mapping[str, object],
        registry: OpRegistry,
        resolve_file: FileResolver,
        nonce: bytes,
    ) -> None:
        self.graph = graph
        self.outputs = outputs
        self.context = context
        self.registry = registry
        self.resolve_file = resolve_file
        self.nonce = nonce
        self.steps: list[Step] = []
        self.index: dict[str, int] = {}
        self.inlined: dict[str, Encoded] = {}
        self.by_digest: dict[bytes, int] = {}
        self.ops: dict[str, BoundOp] = {}
        self.files: dict[File, FileContent] = {}
        self.constants: dict[str, Encoded] = {}
        # Of the node, and the parameter, at hand:
        self.at: tuple[str, str, tuple[str, ...]] = "", "", ()  # with the names it may refer to
        self.slots: dict[int, int] = {}  # step -> slot
        self.marked = False
        self.borrowed: Blobs = {}
        self.handlers: dict[type, Handler] = {Ref: self.marker, File: self.file}

    def add(self, node_id: str, node: Node) -> None:
        bound = self.ops.get(node.op_name) or self.bind(node.op_name, node_id)
        signature = bound.op.signature
        params = node.params
        signature.check(params, node=node_id, op=node.op_name)
        self.slots = {}
        parts: list[Part] = []
        fields: list[tuple[bytes, bytes]] = []
        for name, key in signature.fields_of(params):
            value = params[name] if name in params else signature.defaults[name]
            scalar = SCALARS.get(type(value))
            try:
                if scalar is not None:
                    descriptor, payload = self.plain(scalar(value))
                else:
                    self.at = node_id, name, node.refs
                    descriptor, payload = self.parameter(value)
            except NotCacheableError as error:
                raise error.of(f"node {node_id!r}, parameter {name}") from None
            parts.append((name, key, payload))
            fields.append((key, descriptor))
        inputs = tuple(self.slots)
        private = self.private(node_id, node, inputs)
        if bound.op.inline and not (inputs or private or node.deps or node_id in self.outputs):
            value_of = self.evaluate(bound, parts)
            if value_of is not None:
                self.inlined[node_id] = value_of
                return
        planned = PlannedDigest(manifest.digest(manifest.assemble(bound.identity, fields, private)))
        self.place(node_id, node, bound, planned, tuple(parts), inputs, private)

    def place(
        self,
        node_id: str,
        node: Node,
        bound: BoundOp,
        planned: PlannedDigest,
        parts: tuple[Part, ...],
        inputs: tuple[int, ...],
        private: bytes,
    ) -> None:
        """Give a node its step: a new one, or that of a node which asks for the same."""
        after: tuple[int, ...] = ()
        if len(node.deps) > len(node.refs):
            only = (dep for dep in node.deps if dep not in node.refs and dep in self.index)
            after = tuple(sorted({self.index[dep] for dep in only} - set(inputs)))
        known = self.by_digest.get(planned)
        if known is None:
            self.by_digest[planned] = self.index[node_id] = len(self.steps)
            step = Step(node_id, bound, planned, parts, inputs, after, private, node.hints)
            self.steps.append(step)
            return
        self.index[node_id] = known
        if after:
            # Waiting for a later step could close a circle; that work is done then anyway.
            step = self.steps[known]
            earlier = {index for index in after if index < known} - set(step.inputs)
            step.after = tuple(sorted(earlier | set(step.after)))

    def bind(self, op_name: str, node_id: str) -> BoundOp:
        try:
            op = self.registry.get(op_name)
        except UnknownOpError as error:
            raise UnknownOpError(op=op_name, known=error.known, node=node_id) from None  # type: ignore[attr-defined]
        identity = op.identity()
        declared = identity.kind == "version" and identity.code is not None
        code = identity.code.digest if declared and identity.code is not None else ""
        bound = self.ops[op_name] = BoundOp(op, identity.encode(), code)
        return bound

    def plain(self, encoded: bytes) -> tuple[bytes, Payload]:
        descriptor = descriptor_of(encoded)
        return descriptor, encoded if descriptor is encoded else Encoded(encoded, encoded, {})

    def parameter(self, value: object) -> tuple[bytes, Payload]:
        """Return what enters the planned manifest, and what a worker needs."""
        if type(value) is Ref:
            constant = self.constant(value.name)
            if constant is None:
                step = self.index[value.name]
                slot = self.slots.setdefault(step, len(self.slots))
                return reference(self.steps[step].planned), slot
            return self.known(constant)
        self.marked, self.borrowed = False, {}
        encoded = encode(value, self.handlers)
        encoded.blobs.update(self.borrowed)
        if self.marked:
            return descriptor_of(encoded.identity), Template(encoded.storage, encoded.blobs)
        return self.known(encoded)

    def known(self, encoded: Encoded) -> tuple[bytes, Payload]:
        if encoded.descriptor == encoded.storage and not encoded.blobs:
            return encoded.descriptor, encoded.storage
        return encoded.descriptor, encoded

    def constant(self, name: str) -> Encoded | None:
        """Return the value behind a name if it is known already; a node shadows the context."""
        if name not in self.at[2]:
            raise self.unseen(name)
        inlined = self.inlined.get(name)
        if inlined is not None or name in self.graph:
            return inlined
        found = self.constants.get(name)
        if found is None:
            try:
                found = encode(self.context[name], {File: self.file})
            except NotCacheableError as error:
                raise error.of(f"context {name!r}") from None
            self.constants[name] = found
        return found

    def unseen(self, name: str) -> GraphError:
        """Return the error for a marker that was not seen when its node was made."""
        node_id, parameter, _ = self.at
        return GraphError(
            f"node {node_id!r}, parameter {parameter}: ref({name!r}) was not seen when the node "
            "was made; pass markers as parameters or in lists, tuples and dicts, not inside other "
            "objects, and make a new Node instead of changing its params"
        )

    def marker(self, marker: Ref) -> Pair:
        """Encode a marker inside a container: a placeholder to hash, a slot to fill."""
        constant = self.constant(marker.name)
        if constant is not None:
            self.borrowed.update(constant.blobs)
            return constant.identity, constant.storage
        self.marked = True
        step = self.index[marker.name]
        slot = self.slots.setdefault(step, len(self.slots))
        return reference(self.steps[step].planned), _SLOT + encode_int(slot)

    def file(self, file: File) -> Pair:
        content = self.files.get(file)
        if content is None:
            content = self.files[file] = self.resolve_file(file)
        encoded = encode(content)
        return encoded.identity, encoded.storage

    def private(self, node_id: str, node: Node, inputs: tuple[int, ...]) -> bytes:
        """Ephemeral nodes meet nobody, and neither does what is made from them."""
        if node.cache and not any(self.steps[index].private for index in inputs):
            return b""
        return manifest.private_item(node_id, self.nonce)

    def evaluate(self, bound: BoundOp, parts: list[Part]) -> Encoded | None:
        """Evaluate an inline op on values that are all known, or leave it to a task."""
        values = {}
        for name, _, payload in parts:
            if isinstance(payload, bytes):
                values[name] = decode(payload)
            elif isinstance(payload, Encoded) and not payload.blobs:
                try:
                    values[name] = decode(payload.storage, open_file=_leave)
                except _LeftToTaskError:
                    return None
            else:
                return None
        try:
            with FixedSurroundings():
                return encode(bound.op.function(**values))
        except (Exception, SystemExit):  # noqa: BLE001  an op can fail in any way
            # It fails again in its task, where a failure is reported with its node and digest.
            return None
