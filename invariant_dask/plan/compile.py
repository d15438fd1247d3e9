"""Compile a graph: check it, bind parameters to ops, and give every node its planned digest.

Pure: what a file holds comes from an injected resolver, and the nonce of ephemeral nodes from the
caller. Subgraphs are compiled in place, and of a switch only what it chose. The inner loop runs
once per node, so it looks plain values up by exact type and leaves everything else to `markers`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import NoReturn

from invariant_dask.core import manifest
from invariant_dask.core.decode import decode
from invariant_dask.core.digest import PlannedDigest
from invariant_dask.core.encode import Encoded, encode, hidden
from invariant_dask.core.files import FileContent
from invariant_dask.core.scalars import SCALARS
from invariant_dask.errors import GraphError, NotCacheableError, SwitchError, UnknownOpError
from invariant_dask.graph.composite import SubGraphNode, SwitchNode, Vertex
from invariant_dask.graph.markers import Ref
from invariant_dask.graph.node import Node
from invariant_dask.graph.resolve import Walk, check_graph, choose_outputs, walk
from invariant_dask.ops.registry import OpRegistry
from invariant_dask.ops.surroundings import FixedSurroundings
from invariant_dask.plan.binding import OPEN, Binder, FileResolver, OpenError, Scope, Value
from invariant_dask.plan.payload import (
    Payload,
    has_secret,
    no_values,
    unexplained,
    value_of_payload,
)
from invariant_dask.plan.program import (
    BindOp,
    BoundOp,
    OpenSwitch,
    Part,
    Program,
    Step,
    bind_op,
    case_text,
)

Decisions = Mapping[str, str]
"""The case that a switch takes, by the path of the switch."""


def compile_graph(
    graph: Mapping[str, Vertex],
    outputs: Iterable[str | Ref] | None = None,
    context: Mapping[str, object] | None = None,
    *,
    registry: OpRegistry,
    resolve_file: FileResolver,
    nonce: bytes = b"",
    decisions: Decisions | None = None,
) -> Program:
    """Check the active part of a graph and give every node in it its planned digest.

    Parameters
    ----------
    graph
        Vertices by id.
    outputs
        Ids to produce, or markers of them; by default all nodes that no other needs.
    context
        External values by name, for markers that name no node.
    registry
        Where ops are looked up.
    resolve_file
        Returns what a file holds.
    nonce
        Bytes that keep ephemeral nodes apart from those of any other run.
    decisions
        The case of each switch whose selector takes a run to know.

    Raises
    ------
    SpecError
        A leaf of it for whatever is wrong; nothing has run by then.
    """
    bind = partial(bind_op, registry)
    return compile_bound(
        graph, outputs, context,
        bind=bind, resolve_file=resolve_file, nonce=nonce, decisions=decisions,
    )  # fmt: skip


def compile_bound(
    graph: Mapping[str, Vertex],
    outputs: Iterable[str | Ref] | None,
    context: Mapping[str, object] | None,
    *,
    bind: BindOp,
    resolve_file: FileResolver,
    nonce: bytes = b"",
    decisions: Decisions | None = None,
) -> Program:
    """Compile a graph as `compile_graph` does, with ops from anywhere."""
    graph = check_graph(graph)
    chosen = choose_outputs(graph, outputs)
    compiler = _Compiler(context or {}, bind, resolve_file, nonce, decisions or {})
    compiler.compile(graph, chosen)
    return Program(
        compiler.steps,
        compiler.index,
        compiler.inlined,
        chosen,
        getattr(graph, "name", ""),
        tuple(compiler.open),
        nonce,
    )


def _is_free(node: Node) -> bool:
    """Whether nothing but its parameters says when, or how often, a node has to run."""
    return node.cache is True and len(node.deps) == len(node.refs)


class _LeftToTaskError(Exception):
    pass


def _leave(_content: FileContent) -> NoReturn:
    # Only a task opens files.
    raise _LeftToTaskError


@dataclass(slots=True)
class _Frame:
    """A graph that is being compiled, and the vertex at hand, for the graph within it."""

    scope: Scope
    walk: Walk
    at: str = ""
    reply: str | None = None


class _Compiler:
    def __init__(
        self,
        context: Mapping[str, object],
        bind: BindOp,
        resolve_file: FileResolver,
        nonce: bytes,
        decisions: Decisions,
    ) -> None:
        self.context = context
        self.bind_op = bind
        self.nonce = nonce
        self.decisions = decisions
        self.steps: list[Step] = []
        self.index: dict[str, int] = {}
        self.inlined: dict[str, Encoded] = {}
        self.spared: dict[int, Callable[[], int]] = {}
        """What makes a step of an inline node after all, by id of its value."""
        self.open: list[OpenSwitch] = []
        self.by_digest: dict[bytes, int] = {}
        self.ops: dict[str, BoundOp] = {}
        self.binder = Binder(self.steps, context, resolve_file)

    def compile(self, graph: Mapping[str, Vertex], outputs: tuple[str, ...]) -> None:
        """Compile what some outputs need."""
        top = Scope(graph, self.context)
        frames = [_Frame(top, walk(graph, outputs, self.context))]
        while frames:
            frame = frames[-1]
            try:
                node_id = frame.walk.send(frame.reply)
            except StopIteration:
                frames.pop()
                if frames:
                    self.leave(frames[-1], frame)
                continue
            frame.reply = None
            vertex = frame.scope.graph[node_id]
            if type(vertex) is Node:
                self.add(frame.scope, node_id, vertex)
            elif isinstance(vertex, SwitchNode):
                frame.reply = self.choose(frame.scope, node_id, vertex)
            else:
                assert isinstance(vertex, SubGraphNode)
                frame.at = node_id
                frames.append(self.enter(frame.scope, node_id, vertex))
        for output in outputs:
            self.show(output, top.values[output])

    def show(self, output: str, value: Value) -> None:
        """Give an output that is a known value a step: what is shown must be an artifact.

        Whoever uses the value goes on using it, so that nobody's digest depends on who else asks.
        """
        if isinstance(value, Encoded):
            self.binder.begin()
            step = self.spared[id(value)]()
            for name in (self.steps[step].node, output):
                self.inlined.pop(name, None)
                self.index[name] = step

    # --- a node ---

    def add(self, scope: Scope, node_id: str, node: Node) -> None:
        if scope.opened and any(scope.values.get(dep) is OPEN for dep in node.deps):
            scope.values[node_id] = OPEN
            return
        bound = self.ops.get(node.op_name) or self.bind(node.op_name, scope.path + node_id)
        signature = bound.op.signature
        params = node.params
        signature.check(params, node=scope.path + node_id, op=node.op_name)
        binder = self.binder
        binder.begin()
        parts: list[Part] = []
        fields: list[tuple[bytes, bytes]] = []
        for name, key in signature.fields_of(params):
            value = params[name] if name in params else signature.defaults[name]
            scalar = SCALARS.get(type(value))
            try:
                payload: Payload
                if scalar is not None and not (type(value) is str and "${" in value):
                    descriptor, payload = binder.plain(scalar(value))
                else:
                    binder.at = scope.path + node_id, f"parameter {name}", node.refs
                    descriptor, payload = binder.parameter(scope, value, node.texts)
            except NotCacheableError as error:
                raise error.of(f"node {scope.path + node_id!r}, parameter {name}") from None
            except OpenError:
                scope.values[node_id] = OPEN
                scope.opened = True
                return
            parts.append((name, key, payload))
            fields.append((key, descriptor))
        inputs = tuple(binder.slots)
        private = self.private(scope.path + node_id, node, inputs)
        planned = PlannedDigest(manifest.digest(manifest.assemble(bound.identity, fields, private)))
        place = partial(
            self.place, scope, node_id, node, bound, planned, tuple(parts), inputs, private
        )
        if bound.op.inline and not (inputs or private) and _is_free(node):
            value = self.evaluate(bound, parts)
            if value is not None:
                self.spared[id(value)] = place
                self.name(scope, node_id, value)
                return
        self.name(scope, node_id, place())

    def place(
        self,
        scope: Scope,
        node_id: str,
        node: Node,
        bound: BoundOp,
        planned: PlannedDigest,
        parts: tuple[Part, ...],
        inputs: tuple[int, ...],
        private: bytes,
    ) -> int:
        """Return the step of a node: a new one, or that of a node which asks for the same."""
        after = scope.after
        if len(node.deps) > len(node.refs):
            only = {dep for dep in node.deps if dep not in node.refs}
            after = tuple(sorted({*after, *self.steps_behind(scope, only)} - set(inputs)))
        name = scope.path + node_id
        known = self.by_digest.get(planned)
        if known is None:
            index = self.by_digest[planned] = len(self.steps)
            step = Step(name, bound, planned, parts, inputs, after, private, node.hints)
            step.derives = self.binder.derives
            step.volatile = node.cache == "volatile"
            self.steps.append(step)
        else:
            index = known
            step = self.steps[known]
            step.volatile |= node.cache == "volatile"
            if after:
                # Waiting for a later step could close a circle; that work is done then anyway.
                earlier = {each for each in after if each < known} - set(step.inputs)
                step.after = tuple(sorted(earlier | set(step.after)))
        return index

    def check_free(self, name: str) -> None:
        """Raise GraphError if there is a vertex of this name, in a subgraph or beside it."""
        if name in self.index or name in self.inlined:
            inside = name.rpartition("/")[0]
            msg = (
                f"two nodes are called {name!r}, one of them in the subgraph {inside!r}; rename one"
            )
            raise GraphError(msg)

    def steps_behind(self, scope: Scope, names: Iterable[str]) -> set[int]:
        """Return the steps that some vertices, or values from outside, stand for."""
        found: set[int] = set()
        for name in names:
            value = scope.values.get(name)
            if type(value) is int:
                found.add(value)
            elif value is None and scope.parent is not None and name in scope.outside:
                found.update(self.binder.steps_of(self.binder.value(scope, name)))
        return found

    def bind(self, op_name: str, node_id: str) -> BoundOp:
        try:
            bound = self.ops[op_name] = self.bind_op(op_name)
        except UnknownOpError as error:
            raise UnknownOpError(
                op=op_name,
                known=error.known,  # type: ignore[attr-defined]
                node=node_id,
                reason=error.reason,
            ) from None
        return bound

    def private(self, name: str, node: Node, inputs: tuple[int, ...]) -> bytes:
        """Ephemeral nodes meet nobody, and neither does what is made from them."""
        if node.cache is not False and not any(self.steps[index].private for index in inputs):
            return b""
        return manifest.private_item(name, self.nonce)

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
                made = encode(bound.op.function(**values))
        except (Exception, SystemExit):  # noqa: BLE001  an op can fail in any way
            # It fails again in its task, where a failure is reported with its node and digest.
            return None
        return hidden(made) if any(has_secret(payload) for _, _, payload in parts) else made

    # --- a graph within the graph ---

    def enter(self, scope: Scope, node_id: str, vertex: SubGraphNode) -> _Frame:
        """Begin the graph of a subgraph; what it sees of the outside are its parameters."""
        path = f"{scope.path}{node_id}/"
        after = scope.after
        if len(vertex.deps) > len(vertex.refs):
            only = {dep for dep in vertex.deps if dep not in vertex.refs}
            after = tuple(sorted({*after, *self.steps_behind(scope, only)}))
        inner = Scope(vertex.graph, vertex.params, path, scope, after, vertex.refs, scope.opened)
        # At once: a parameter that is handed down through many levels would be a deep recursion.
        for name in vertex.params:
            if name not in vertex.graph:
                with suppress(OpenError, NotCacheableError):
                    self.binder.value(inner, name)
        return _Frame(inner, walk(vertex.graph, (vertex.output,), vertex.params))

    def leave(self, outer: _Frame, inner: _Frame) -> None:
        """Take the artifact of a subgraph from within."""
        vertex = outer.scope.graph[outer.at]
        assert isinstance(vertex, SubGraphNode)
        value = inner.scope.values[vertex.output]
        self.name(outer.scope, outer.at, value)

    def name(self, scope: Scope, node_id: str, value: Value) -> None:
        scope.values[node_id] = value
        self.check_free(scope.path + node_id)
        if type(value) is int:
            self.index[scope.path + node_id] = value
        elif isinstance(value, Encoded):
            self.inlined[scope.path + node_id] = value
        else:
            scope.opened = True

    # --- a choice ---

    def choose(self, scope: Scope, node_id: str, vertex: SwitchNode) -> str | None:
        """Return the vertex that has to be compiled first, or None if the switch is done."""
        name = scope.path + node_id
        for target in vertex.targets:
            if target not in scope.graph:
                known = ", ".join(sorted(scope.graph)[:20])
                msg = f"switch {name!r} names {target!r}, not in its graph; there are {known}"
                raise GraphError(msg)
        case = self.decisions.get(name)
        if case is None:
            case = self.case_of(scope, name, vertex)
        if case is None:
            scope.values[node_id] = OPEN
            scope.opened = True
            return None
        chosen = vertex.cases.get(case) or vertex.default
        if chosen is None:
            selector = self.selector(scope, name, vertex)
            shown = None if has_secret(selector) else case
            raise SwitchError(switch=name, case=shown, cases=tuple(sorted(vertex.cases)))
        if chosen in scope.values:
            self.name(scope, node_id, scope.values[chosen])
            return None
        return chosen

    def case_of(self, scope: Scope, name: str, vertex: SwitchNode) -> str | None:
        """Return the case a switch takes, or None if it takes a run to know."""
        if scope.opened and any(scope.values.get(dep) is OPEN for dep in vertex.deps):
            return None
        try:
            payload = self.selector(scope, name, vertex)
        except OpenError:
            return None
        if not self.binder.slots:
            with FixedSurroundings(), unexplained(payload):
                return case_text(name, value_of_payload(payload, no_values))
        self.open.append(OpenSwitch(name, payload, tuple(self.binder.slots)))
        return None

    def selector(self, scope: Scope, name: str, vertex: SwitchNode) -> Payload:
        self.binder.begin()
        self.binder.at = name, "selector", vertex.refs
        try:
            return self.binder.parameter(scope, vertex.selector)[1]
        except NotCacheableError as error:
            raise error.of(f"switch {name!r}, selector") from None
