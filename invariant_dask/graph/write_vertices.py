"""Vertices and graphs as plain JSON: the inverse of `vertices`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from invariant_dask.graph.composite import SubGraphNode, SwitchNode, Vertex
from invariant_dask.graph.node import Node
from invariant_dask.graph.positions import MAX_NESTING, NESTED, Fault
from invariant_dask.graph.write_values import write_dict, write_value


def write_graph(graph: Mapping[str, Vertex], depth: int) -> dict[str, Any]:
    """Return the vertices of a graph as plain JSON.

    Raises
    ------
    Fault
        If a parameter has no form in a document, with the path to it.
    """
    if depth >= MAX_NESTING:
        raise Fault(NESTED)
    result = {}
    vertex_id = ""
    try:
        for vertex_id, vertex in graph.items():
            result[vertex_id] = _write_vertex(vertex, depth + 1)
    except Fault as fault:
        raise fault.within(vertex_id) from None
    return result


def _write_vertex(vertex: Vertex, depth: int) -> dict[str, Any]:
    result: dict[str, Any] = {"deps": list(vertex.deps)}
    step = "params"
    try:
        if isinstance(vertex, SwitchNode):
            step = "selector"
            selector = write_value(vertex.selector, depth + 1)
            result |= {"kind": "switch", "selector": selector, "cases": vertex.cases}
            if vertex.default is not None:
                result["default"] = vertex.default
            return result
        result["params"] = write_dict(vertex.params, depth + 1)
        if isinstance(vertex, SubGraphNode):
            step = "graph"
            result |= {"kind": "subgraph", "output": vertex.output}
            result["graph"] = write_graph(vertex.graph, depth + 1)
            return result
    except Fault as fault:
        raise fault.within(step) from None
    return result | _node_fields(vertex)


def _node_fields(node: Node) -> dict[str, Any]:
    fields: dict[str, Any] = {"kind": "node", "op_name": node.op_name}
    if node.cache is not True:
        fields["cache"] = node.cache
    if node.hints:
        fields["hints"] = {
            name: dict(hint) if isinstance(hint, Mapping) else hint
            for name, hint in node.hints.items()
        }
    return fields
