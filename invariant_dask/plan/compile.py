"""Compile a graph: check it, bind parameters to ops, and give every node its planned digest.

Pure: what a file holds comes from an injected resolver, and the nonce of ephemeral nodes from the
caller. Subgraphs are compiled in place, and of a switch only what it chose. The inner loop runs
once per node, so it looks plain values up by exact type and leaves everything else to `markers`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from invariant_dask.core import manifest
from invariant_dask.core.digest import PlannedDigest
from invariant_dask.core.encode import Encoded, encode, hidden
from invariant_dask.core.scalars import SCALARS
from invariant_dask.errors import (
    GraphError,
    NotCacheableError,
    SpecError,
    SwitchError,
    UnknownOpError,
)
from invariant_dask.graph.composite import SubGraphNode, SwitchNode, Vertex
from invariant_dask.graph.markers import Ref
from invariant_dask.graph.model import Origin
from invariant_dask.graph.node import Node
from invariant_dask.graph.resolve import Walk, check_graph, choose_outputs, walk
from invariant_dask.ops.surroundings import FixedSurroundings
from invariant_dask.ops.table import OpTable
from invariant_dask.plan.binding import OPEN, FileResolver, OpenError, Scope
from invariant_dask.plan.fitting import LeftToTaskError, check_known, fits, known_value
from invariant_dask.plan.payload import (
    Payload,
    has_secret,
    no_values,
    secret_texts,
    unexplained,
    value_of_payload,
)
from invariant_dask.plan.places import place_of
from invariant_dask.plan.program import (
    BindOp,
    BoundOp,
    OpenSwitch,
    Part,
    Program,
    bind_op,
    case_text,
)
from invariant_dask.plan.stepping import Steps

Decisions = Mapping[str, str]
"""The case that a switch takes, by the path of the switch."""


def compile_graph(
    graph: Mapping[str, Vertex],
    outputs: Iterable[str | Ref] | None = None,
    context: Mapping[str, object] | None = None,
    *,
    registry: OpTable,
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
        # The caller may replace vertices of a dict; a Graph only takes further ones.
        dict(graph) if isinstance(graph, dict) else graph,
    )


def _is_free(node: Node) -> bool:
    """Whether nothing but its parameters says when, or how often, a node has to run."""
    return node.cache is True and len(node.deps) == len(node.refs)


@dataclass(slots=True)
class _Frame:
    """A graph that is being compiled, and the vertex at hand, for the graph within it."""

    scope: Scope
    walk: Walk
    origin: Origin | None = None
    at: str = ""
    reply: str | None = None


class _Compiler(Steps):
    def __init__(
        self,
        context: Mapping[str, object],
        bind: BindOp,
        resolve_file: FileResolver,
        nonce: bytes,
        decisions: Decisions,
    ) -> None:
        super().__init__(context, resolve_file, nonce)
        self.context = context
        self.bind_op = bind
        self.decisions = decisions
        self.open: list[OpenSwitch] = []
        self.ops: dict[str, BoundOp] = {}
        self.within: tuple[str, ...] = ()
        """The way to what is wrong, within the vertex at hand."""

    def compile(self, graph: Mapping[str, Vertex], outputs: tuple[str, ...]) -> None:
        """Compile what some outputs need."""
        top = Scope(graph, self.context)
        origin = getattr(graph, "origin", None)
        frames = [_Frame(top, walk(graph, outputs, self.context), origin)]
        try:
            self.run(frames)
        except SpecError as error:
            levels = [(frame.origin, frame.at) for frame in frames]
            error.place = error.place or place_of(error, levels, self.within)
            raise
        for output in outputs:
            self.show(output, top.values[output])

    def run(self, frames: list[_Frame]) -> None:
        """Compile what the frames walk through, and the frames that this opens."""
        while frames:
            frame = frames[-1]
            try:
                node_id = frame.walk.send(frame.reply)
            except StopIteration:
                frames.pop()
                if frames:
                    self.leave(frames[-1], frame)
                continue
            frame.reply, frame.at = None, node_id
            vertex = frame.scope.graph[node_id]
            if type(vertex) is Node:
                self.add(frame.scope, node_id, vertex)
            elif isinstance(vertex, SwitchNode):
                frame.reply = self.choose(frame.scope, node_id, vertex)
            else:
                assert isinstance(vertex, SubGraphNode)
                frames.append(self.enter(frame.scope, node_id, vertex))

    # --- a node ---

    def add(self, scope: Scope, node_id: str, node: Node) -> None:
        if scope.opened and any(scope.values.get(dep) is OPEN for dep in node.deps):
            scope.values[node_id] = OPEN
            return
        bound = self.ops.get(node.op_name) or self.bind(node.op_name, scope.path + node_id)
        signature, contract = bound.op.signature, bound.contract
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
                self.within = "params", name
                raise error.of(f"node {scope.path + node_id!r}, parameter {name}") from None
            except SpecError:
                self.within = "params", name
                raise
            except OpenError:
                scope.values[node_id] = OPEN
                scope.opened = True
                return
            if contract is not None and type(payload) is not int:
                check = contract.parameters.get(name, contract.rest)
                if check is not None and type(value) not in check.exact:
                    given = value, node.texts
                    self.within = "params", name
                    check_known(scope.path + node_id, node.op_name, name, given, payload, check)
                    self.within = ()
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

    def evaluate(self, bound: BoundOp, parts: list[Part]) -> Encoded | None:
        """Evaluate an inline op on values that are all known, or leave it to a task."""
        try:
            values = {name: known_value(payload) for name, _, payload in parts}
        except LeftToTaskError:
            return None
        # What fails here fails again in its task, where it is reported with its node and digest.
        if not fits(bound.contract, values):
            return None
        try:
            with FixedSurroundings():
                result = bound.op.function(**values)
                made = encode(result)
        except (Exception, SystemExit):  # noqa: BLE001  an op can fail in any way
            return None
        returned = None if bound.contract is None else bound.contract.result
        if returned is not None and returned(result) is not None:
            return None
        if not any(has_secret(payload) for _, _, payload in parts):
            return made
        return hidden(made, set().union(*(secret_texts(payload) for _, _, payload in parts)))

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
                self.within = "params", name
                with suppress(OpenError, NotCacheableError):
                    self.binder.value(inner, name)
        self.within = ()
        around = walk(vertex.graph, (vertex.output,), vertex.params, "parameter of its subgraph")
        return _Frame(inner, around, vertex.origin)

    def leave(self, outer: _Frame, inner: _Frame) -> None:
        """Take the artifact of a subgraph from within."""
        vertex = outer.scope.graph[outer.at]
        assert isinstance(vertex, SubGraphNode)
        value = inner.scope.values[vertex.output]
        self.name(outer.scope, outer.at, value)

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
            self.within = ()
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
            self.within = ()
            return None
        if not self.binder.slots:
            with FixedSurroundings(), unexplained(payload):
                case = case_text(name, value_of_payload(payload, no_values))
            self.within = ()
            return case
        self.within = ()
        self.open.append(OpenSwitch(name, payload, tuple(self.binder.slots)))
        return None

    def selector(self, scope: Scope, name: str, vertex: SwitchNode) -> Payload:
        self.binder.begin()
        self.binder.at = name, "selector", vertex.refs
        self.within = ("selector",)
        try:
            return self.binder.parameter(scope, vertex.selector)[1]
        except NotCacheableError as error:
            raise error.of(f"switch {name!r}, selector") from None
