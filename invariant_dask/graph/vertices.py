"""Vertices and graphs as parsed JSON, checked field by field."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, TypeVar

from invariant_dask.errors import GraphError
from invariant_dask.graph.composite import SubGraphNode, SwitchNode, Vertex, check_id
from invariant_dask.graph.markers import names_in
from invariant_dask.graph.model import Graph
from invariant_dask.graph.node import HINTS, Node
from invariant_dask.graph.positions import MAX_NESTING, NESTED, Fault, Path, guess, kind_of
from invariant_dask.graph.read_values import PARAMS

V = TypeVar("V", Node, SubGraphNode, SwitchNode)

RESERVED = frozenset({"id", "namespace"})
"""Fields that have no meaning yet; a document that relied on one would be misread."""


def check_fields(obj: Any, what: str, needed: set[str], optional: set[str]) -> None:
    """Raise a Fault unless `obj` is a mapping with all needed fields and no unknown ones."""
    if type(obj) is not dict:
        raise Fault(f"{what} is a mapping, not {kind_of(obj)}")
    for name in sorted(obj.keys() - needed - optional, key=str):
        if name in RESERVED:
            raise Fault(
                f"the field {name!r} is reserved and has no meaning yet; leave it out",
                (name,), at_key=True,
            )  # fmt: skip
        hint = guess(name, needed | optional)
        raise Fault(f"{what} has no field {name!r}; {hint}", (name,), at_key=True)
    missing = sorted(needed - obj.keys())
    if missing:
        raise Fault(f"{what} needs the field {' and '.join(map(repr, missing))}")


def read_graph(obj: Any, depth: int) -> Mapping[str, Vertex]:
    """Return the vertices of a graph.

    Raises
    ------
    Fault
        If it is none, with the path to the place.
    """
    if isinstance(obj, Graph):
        return obj  # grafted from another document, where all was checked
    if type(obj) is not dict:
        raise Fault(f"a graph is a mapping of ids to vertices, not {kind_of(obj)}")
    if depth >= MAX_NESTING:
        raise Fault(NESTED)
    graph: dict[str, Vertex] = {}
    vertex_id: Any = None
    try:
        for vertex_id, vertex in obj.items():
            _check_id(vertex_id)
            graph[vertex_id] = _read_vertex(vertex, depth + 1)
    except Fault as fault:
        raise fault.within(vertex_id) from None
    _check_targets(graph)
    return graph


def _check_id(vertex_id: Any) -> None:
    try:
        check_id(vertex_id)
    except GraphError as error:
        raise Fault(str(error), at_key=True) from error


def _check_targets(graph: Mapping[str, Vertex]) -> None:
    for vertex_id, vertex in graph.items():
        if not isinstance(vertex, SwitchNode):
            continue
        ways: dict[Path, str | None] = {("cases", case): to for case, to in vertex.cases.items()}
        ways["default",] = vertex.default
        for path, target in ways.items():
            if target is not None and target not in graph:
                raise Fault(
                    f"the switch leads to {target!r}, which is not in this graph; "
                    f"{guess(target, graph)}",
                    (vertex_id, *path),
                )


def _read_vertex(obj: Any, depth: int) -> Vertex:
    if type(obj) is not dict:
        raise Fault(f"a vertex is a mapping, not {kind_of(obj)}")
    if depth >= MAX_NESTING:
        raise Fault(NESTED)
    if "kind" not in obj:
        raise Fault('a vertex needs the field "kind": "node", "subgraph" or "switch"')
    kind = obj["kind"]
    reader = _READERS.get(kind) if type(kind) is str else None
    if reader is None:
        raise Fault(f"there is no kind {kind!r:.60}; {guess(kind, _READERS)}", ("kind",))
    return reader(obj, depth)


def _read_node(obj: dict[str, Any], depth: int) -> Node:
    check_fields(obj, "a node", {"kind", "op_name", "params", "deps"}, {"cache", "hints"})
    op_name = obj["op_name"]
    if type(op_name) is not str or not op_name.strip():
        raise Fault(f"op_name is the name of an op, not {kind_of(op_name)}", ("op_name",))
    cache = obj.get("cache", True)
    if type(cache) is not bool and cache != "volatile":
        raise Fault('cache is true, false or "volatile"', ("cache",))
    params, deps = _read_params(obj, depth), _read_deps(obj)
    hints = _read_hints(obj["hints"]) if "hints" in obj else {}
    return _made(obj, depth, lambda: Node(op_name.strip(), params, deps, cache, **hints))


def _read_subgraph(obj: dict[str, Any], depth: int) -> SubGraphNode:
    check_fields(obj, "a subgraph", {"kind", "params", "deps", "graph", "output"}, set())
    params, deps = _read_params(obj, depth), _read_deps(obj)
    try:
        graph = read_graph(obj["graph"], depth + 1)
    except Fault as fault:
        raise fault.within("graph") from None
    if not graph:
        raise Fault("the graph of a subgraph is empty", ("graph",))
    output = check_output(obj["output"], graph)
    return _made(obj, depth, lambda: SubGraphNode(params, deps, graph, output))


def check_output(output: Any, graph: Mapping[str, Vertex]) -> str:
    """Return the output of a graph, or raise a Fault if it is not the id of a vertex inside."""
    if type(output) is not str or not output:
        raise Fault(f"output is the id of a vertex, not {kind_of(output)}", ("output",))
    if output not in graph:
        raise Fault(f"the output {output!r} is not inside; {guess(output, graph)}", ("output",))
    return output


def _read_switch(obj: dict[str, Any], depth: int) -> SwitchNode:
    check_fields(obj, "a switch", {"kind", "selector", "deps", "cases"}, {"default"})
    try:
        selector = PARAMS.read(obj["selector"], depth + 1)
    except Fault as fault:
        raise fault.within("selector") from None
    cases, default = obj["cases"], obj.get("default")
    if type(cases) is not dict or not cases:
        raise Fault("cases is a mapping of text to ids, and not empty", ("cases",))
    for case, target in cases.items():
        if type(case) is not str:
            raise Fault(f"a case is text; quote {case!r}", ("cases", case), at_key=True)
        if type(target) is not str or not target:
            raise Fault(f"a case leads to an id, not {kind_of(target)}", ("cases", case))
    if default is not None and (type(default) is not str or not default):
        raise Fault(f"default is an id, not {kind_of(default)}", ("default",))
    deps = _read_deps(obj)
    return _made(obj, depth, lambda: SwitchNode(selector, deps, cases, default))


_READERS: dict[str, Callable[[dict[str, Any], int], Vertex]] = {
    "node": _read_node,
    "subgraph": _read_subgraph,
    "switch": _read_switch,
}


def _read_params(obj: dict[str, Any], depth: int) -> dict[str, Any]:
    params = obj["params"]
    if type(params) is not dict:
        raise Fault(f"params is a mapping of names to values, not {kind_of(params)}", ("params",))
    try:
        # A parameter named $ref is one: the mapping of all is never a marker.
        result: dict[str, Any] = PARAMS.read_dict(params, depth + 1)
    except Fault as fault:
        raise fault.within("params") from None
    return result


def _read_deps(obj: dict[str, Any]) -> list[str]:
    deps = obj["deps"]
    if type(deps) is not list:
        raise Fault(f"deps is a list of ids, not {kind_of(deps)}", ("deps",))
    for index, dep in enumerate(deps):
        if type(dep) is not str:
            raise Fault(f"deps holds ids, which are text, not {kind_of(dep)}", ("deps", index))
    return deps


def _read_hints(hints: Any) -> dict[str, Any]:
    if type(hints) is not dict:
        raise Fault(f"hints is a mapping, not {kind_of(hints)}", ("hints",))
    read = {}
    for name, hint in hints.items():
        if name not in HINTS:
            raise Fault(f"no hint {name!r}; {guess(name, HINTS)}", ("hints", name), at_key=True)
        read[name] = hint
        for key, item in hint.items() if type(hint) is dict else ():
            fits = type(item) is str if name == "labels" else type(item) in (int, Decimal, float)
            if not fits:
                raise Fault(f"{name} is {HINTS[name]}", ("hints", name, key))
            # Amounts are no part of an identity, and schedulers count in floats.
            read[name] = {**read[name], key: float(item) if type(item) is Decimal else item}
    return read


def _made(obj: dict[str, Any], depth: int, make: Callable[[], V]) -> V:
    try:
        return make()
    except GraphError as error:
        raise Fault(str(error), _undeclared(obj, depth)) from error


def _undeclared(obj: dict[str, Any], depth: int) -> Path:
    """Return the way to the first marker that names what is not among the deps, or to the hints."""
    deps = set(obj["deps"])
    place = obj.get("params", {"selector": obj.get("selector")})
    path: list[Any] = ["params"] if "params" in obj else []

    def names_others(item: Any) -> bool:
        try:
            return not deps.issuperset(names_in(PARAMS.read(item, depth)))
        except Fault:
            return False  # the payload of a marker, such as the pair of a type and its value

    while type(place) in (dict, list):
        steps = place.items() if type(place) is dict else enumerate(place)
        found = next(((step, item) for step, item in steps if names_others(item)), None)
        if found is None:
            break
        path.append(found[0])
        place = found[1]
    if len(path) > 1 or path == ["selector"]:
        return tuple(path)
    return ("hints",) if "hints" in obj else ()  # all else was checked before
