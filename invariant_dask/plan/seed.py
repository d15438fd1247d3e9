"""A graph that is not decided yet, in a form that travels: what the rest of a program grows from.

Literals are encoded, so nobody can change them any more and nobody needs their classes to carry
them. What is wrong with one is kept, and told only to whoever needs it: nobody looks at a branch
that is not taken.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, NoReturn, TypeAlias

from invariant_dask.core.cbor import TAG_DERIVED, head
from invariant_dask.core.digest import DOMAIN_GROWTH, sha256
from invariant_dask.core.encode import Encoded, Pair, encode
from invariant_dask.core.files import File
from invariant_dask.core.scalars import SCALARS
from invariant_dask.core.sealed import SealedDict, SealedList
from invariant_dask.errors import InternalError, InvariantError, NotCacheableError
from invariant_dask.graph.composite import SubGraphNode, SwitchNode, Vertex
from invariant_dask.graph.markers import Cel, Ref, markers_in
from invariant_dask.graph.node import Node
from invariant_dask.graph.resolve import check_graph
from invariant_dask.graph.secrets import Secret
from invariant_dask.plan.binding import FileResolver, Fixed, encode_secret
from invariant_dask.plan.compile import Decisions, compile_bound
from invariant_dask.plan.program import BindOp, BoundOp, Program


class Inner(NamedTuple):
    """A subgraph whose graph is a level of its own."""

    params: dict[str, Any]
    deps: tuple[str, ...]
    level: int
    output: str


Level: TypeAlias = "dict[str, Node | SwitchNode | Inner]"
"""The vertices of one graph that may be needed, without what is inside its subgraphs."""

_Handlers = Mapping[type, Callable[[Any], Pair]]

_LISTS = (list, SealedList)
_DICTS = (dict, SealedDict)


@dataclass(frozen=True, slots=True, repr=False)
class Seed:
    """All that may be needed of a graph, whatever its switches take."""

    levels: Sequence[Level]
    """Each behind those it has inside; the last one is the graph."""
    outputs: tuple[str, ...]
    context: Mapping[str, Fixed]
    nonce: bytes

    def grow(self, bind: BindOp, wanted: tuple[str, ...], decisions: Decisions) -> Program:
        """Compile the graph, as far as these decisions allow.

        Parameters
        ----------
        bind
            Where ops come from.
        wanted
            The outputs of the program; the others are compiled alike and left to others.
        decisions
            The case of each switch that is decided.

        Raises
        ------
        SpecError
            As `compile_graph` does, for what the decisions make active.
        """
        graphs: list[dict[str, Vertex]] = []
        for level in self.levels:
            graphs.append({name: _vertex(each, graphs) for name, each in level.items()})
        program = compile_bound(
            graphs[-1], self.outputs, self.context,
            bind=bind, resolve_file=_no_files, nonce=self.nonce, decisions=decisions,
        )  # fmt: skip
        return program if program.open else replace(program, outputs=wanted)


def _vertex(each: Node | SwitchNode | Inner, graphs: Sequence[dict[str, Vertex]]) -> Vertex:
    if isinstance(each, Inner):
        return SubGraphNode(each.params, each.deps, graphs[each.level], each.output)
    return each


def _no_files(file: File) -> NoReturn:
    msg = f"{file!r} was not looked at before the graph travelled"
    raise InternalError(msg)


class Sown(NamedTuple):
    """A seed, and what has to go with it."""

    seed: Seed
    ops: Mapping[str, BoundOp | InvariantError]
    """Each op that may be needed, or why it is not there."""
    digest: bytes
    """Names the graph, its ops and values; of an ephemeral or volatile one, this compilation."""
    needs: tuple[int, ...]
    """Steps of the undecided program that are used by, or decide, what is not in it yet."""


def sow(
    graph: Mapping[str, Vertex],
    program: Program,
    context: Mapping[str, object],
    *,
    bind: BindOp,
    resolve_file: FileResolver,
) -> Sown:
    """Return the seed of a graph.

    Parameters
    ----------
    graph
        The graph.
    program
        What was compiled of it, with switches that are not decided.
    context
        External values by name.
    bind, resolve_file
        As for `compile_bound`; what they refuse matters only if it is needed in the end.
    """
    graph = check_graph(graph)
    sower = _Sower(resolve_file)
    sower.level_of(graph, program.outputs)
    outside = {name: sower.from_context(context[name]) for name in _used(graph, program, context)}
    ops: dict[str, BoundOp | InvariantError] = {}
    for name in sorted(sower.op_names):
        try:
            ops[name] = bind(name)
        except InvariantError as error:
            ops[name] = error
    seed = Seed(sower.levels, program.outputs, outside, program.nonce)
    identities = {
        name: str(op) if isinstance(op, InvariantError) else [op.identity, op.code]
        for name, op in ops.items()
    }
    values = {name: _identity(value) for name, value in outside.items()}
    once = program.nonce if sower.once else b""
    described = [sower.rows, list(program.outputs), values, identities, once]
    digest = sha256(DOMAIN_GROWTH + encode(described).identity).digest()
    needs = program.deciding() | _read_by_the_rest(graph, program)
    return Sown(seed, ops, digest, tuple(sorted(needs)))


class _Sower:
    def __init__(self, resolve_file: FileResolver) -> None:
        self.resolve_file = resolve_file
        self.levels: list[Level] = []
        self.rows: list[dict[str, Any]] = []
        """What names each level."""
        self.op_names: set[str] = set()
        self.once = False
        """Whether anything is ephemeral or volatile."""
        self.plain: _Handlers = {File: self.file}
        self.marked: _Handlers = {File: self.file, Ref: _stand_in, Cel: _stand_in}
        self.numbers: dict[tuple[int, tuple[str, ...]], int] = {}

    def level_of(self, graph: Mapping[str, Vertex], outputs: tuple[str, ...]) -> None:
        """Add a graph, behind all that are inside; by a stack of our own, for any depth of them."""
        stack = [(graph, outputs)]
        while stack:
            graph, outputs = stack[-1]
            key = id(graph), outputs
            if key in self.numbers:
                stack.pop()
                continue
            reached = {name: graph[name] for name in _reach(graph, outputs)}
            inside = [
                (each.graph, (each.output,))
                for each in reached.values()
                if isinstance(each, SubGraphNode)
            ]
            ahead = [each for each in inside if (id(each[0]), each[1]) not in self.numbers]
            if ahead:
                stack.extend(ahead)
                continue
            level: Level = {}
            row: dict[str, Any] = {}
            for name, vertex in reached.items():
                level[name], row[name] = self.vertex(vertex)
            self.numbers[key] = len(self.levels)
            self.levels.append(level)
            self.rows.append(row)
            stack.pop()

    def vertex(self, vertex: Vertex) -> tuple[Node | SwitchNode | Inner, list[Any]]:
        """Return a vertex as it travels, and what names it."""
        deps = len(vertex.deps), *vertex.deps
        if isinstance(vertex, SwitchNode):
            selector = self.literal(vertex.selector)
            switch = SwitchNode(selector, vertex.deps, vertex.cases, vertex.default)
            row = ["switch", *deps, _identity(selector), vertex.cases, vertex.default]
            return switch, row
        params = {name: self.literal(value) for name, value in vertex.params.items()}
        named = {name: _identity(value) for name, value in params.items()}
        if isinstance(vertex, SubGraphNode):
            number = self.numbers[id(vertex.graph), (vertex.output,)]
            inner = Inner(params, vertex.deps, number, vertex.output)
            return inner, ["subgraph", *deps, named, number, vertex.output]
        self.op_names.add(vertex.op_name)
        self.once |= vertex.cache is not True
        # Of the hints only this one means anything to who runs the node in place.
        retries = (vertex.hints or {}).get("retries", 0)
        hints = {"retries": retries} if retries else {}
        node = Node(vertex.op_name, params, vertex.deps, vertex.cache, **hints)
        return node, ["node", *deps, named, vertex.op_name, vertex.cache]

    def literal(self, value: object) -> Any:
        """Return a parameter in which all but the markers, and text, is encoded."""
        if type(value) in SCALARS or type(value) in {Ref, Cel}:
            return value
        if next(markers_in(value), None) is None:
            return self.fixed(value, self.plain)
        refused = self.fixed(value, self.marked)
        return self.around_markers(value) if isinstance(refused.literal, Encoded) else refused

    def around_markers(self, value: Any) -> Any:
        """Return a container that has a form, and so an end, with all but the markers encoded."""
        cls = type(value)
        if cls in SCALARS or cls in {Ref, Cel}:
            return value
        if cls in _LISTS:
            return [self.around_markers(item) for item in value]
        if cls is tuple:
            return tuple(self.around_markers(item) for item in value)
        if cls in _DICTS:
            return {key: self.around_markers(item) for key, item in value.items()}
        return self.fixed(value, self.plain)

    def fixed(self, value: object, handlers: _Handlers) -> Fixed:
        try:
            return Fixed(encode(value, handlers))
        except InvariantError as error:
            return Fixed(error.with_traceback(None))
        except Exception as error:  # noqa: BLE001  a class may fail in any way to become a value
            return Fixed(NotCacheableError(reason=f"{type(error).__name__}: {error}"))

    def from_context(self, value: object) -> Fixed:
        if not isinstance(value, Secret):
            return self.fixed(value, self.plain)
        try:
            return Fixed(encode_secret(value, self.plain))
        except NotCacheableError as error:
            return Fixed(error.with_traceback(None))

    def file(self, file: File) -> Pair:
        content = encode(self.resolve_file(file))
        return content.identity, content.storage


def _stand_in(_marker: object) -> Pair:
    return encode(None).identity, b""


def _named(kind: str, *parts: Any) -> Pair:
    name = head(6, TAG_DERIVED) + encode([kind, *parts]).identity
    return name, name


def _name_of_fixed(value: Fixed) -> Pair:
    if isinstance(value.literal, Encoded):
        return value.literal.identity, value.literal.identity
    return _named("refused", str(value.literal))


_NAMES: _Handlers = {
    Ref: lambda marker: _named("item", marker.name, list(marker.path)),
    Cel: lambda marker: _named("cel", marker.expr),
    Fixed: _name_of_fixed,
}


def _identity(value: object) -> bytes:
    """Return what names a parameter, be it good or not; the common ones take the short way."""
    if type(value) is Ref and not value.path:
        return b"r" + value.name.encode()
    scalar = SCALARS.get(type(value))
    try:
        return b"v" + (scalar(value) if scalar else encode(value, _NAMES).descriptor)
    except InvariantError as error:
        return b"e" + str(error).encode(errors="backslashreplace")


def _reach(graph: Mapping[str, Vertex], outputs: Iterable[str]) -> list[str]:
    """Return the vertices that outputs may need, whatever switches take."""
    reached: dict[str, None] = {}
    stack = list(outputs)
    while stack:
        name = stack.pop()
        if name in reached or name not in graph:
            continue
        reached[name] = None
        vertex = graph[name]
        stack.extend(vertex.deps)
        if isinstance(vertex, SwitchNode):
            stack.extend(vertex.targets)
    return list(reached)


def _used(
    graph: Mapping[str, Vertex], program: Program, context: Mapping[str, object]
) -> list[str]:
    """Return the names of the context that may be needed."""
    reached = _reach(graph, program.outputs)
    names = {dep for name in reached for dep in graph[name].deps if dep not in graph}
    return sorted(names & context.keys())


def _read_by_the_rest(graph: Mapping[str, Vertex], program: Program) -> set[int]:
    """Return the steps that vertices depend on which are not in the program yet."""
    index = program.index
    entered = _paths(index)
    found: set[int] = set()
    stack = [(graph, program.outputs, "")]
    while stack:
        graph, outputs, path = stack.pop()
        for name in _reach(graph, outputs):
            if path + name in index or path + name in program.inlined:
                continue
            vertex = graph[name]
            found.update(index[path + dep] for dep in vertex.deps if path + dep in index)
            within = f"{path}{name}/"
            if isinstance(vertex, SubGraphNode) and within in entered:
                stack.append((vertex.graph, (vertex.output,), within))
    return found


def _paths(names: Collection[str]) -> set[str]:
    """Return the paths of all subgraphs that have some of these nodes inside."""
    paths: set[str] = set()
    for name in names:
        end = name.rfind("/") + 1
        while end and name[:end] not in paths:
            paths.add(name[:end])
            end = name.rfind("/", 0, end - 1) + 1
    return paths
