"""A picture in Graphviz's language. Whatever ids and ops are called, it is only ever text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from invariant_dask.view.picture import EdgeKind, Kind, Picture, PictureNode
from invariant_dask.view.states import DASHED, LIGHT, State
from invariant_dask.view.text import bounded, clean

_EDGES = {EdgeKind.DATA: "solid", EdgeKind.ORDER: "dashed", EdgeKind.GHOST: "dotted"}
_WORDS = {EdgeKind.DATA: "data", EdgeKind.ORDER: "order only", EdgeKind.GHOST: "may come to be"}
_SHOWN = 34
_FONT = 'fontname="Helvetica,Arial,DejaVu Sans,sans-serif"'


def dot_of(picture: Picture) -> str:
    """Return a picture as DOT; equal pictures give the same bytes."""
    heading = [line for line in (picture.title, picture.summary, *picture.remarks) if line]
    lines = [
        "digraph {",
        f'  graph [rankdir=LR nodesep=0.16 ranksep=0.5 bgcolor="#ffffff" {_FONT}]',
        f"  graph [labelloc=t labeljust=l fontsize=12 label={_lines(heading)}]",
        f'  node [shape=box fontsize=10 height=0.3 margin="0.1,0.04" {_FONT}]',
        '  edge [color="#7a848f" arrowsize=0.6]',
        *_legend(picture),
        *_nodes(picture),
        *_edges(picture),
        "}",
    ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """Return a string of DOT: no quote ends it, no backslash or entity means anything."""
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;")
    return f'"{text}"'


def _tip(text: str) -> str:
    """Return text for within a tooltip.

    Versions of Graphviz disagree there on how a backslash is written, and let some of them name the
    node, so there is another sign that looks like one.
    """
    return _quoted(bounded(text).replace("\\", "\u29f5"))[1:-1]


def _lines(lines: Iterable[str]) -> str:
    """Return a label of several lines, each to the left."""
    return '"' + "".join(_quoted(bounded(line))[1:-1] + "\\l" for line in lines) + '"'


def _nodes(picture: Picture) -> Iterator[str]:
    """Yield clusters with what is in them, the outer ones around; without recursion."""
    inside: dict[int | None, list[str]] = {}
    for number, node in enumerate(picture.nodes):
        inside.setdefault(node.cluster, []).append(f"n{number} [{_of_node(node)}]")
    for number in reversed(range(len(picture.clusters))):  # what is inside comes first
        cluster = picture.clusters[number]
        told = _quoted(bounded(cluster.label, _SHOWN))
        inside.setdefault(cluster.parent, []).append(
            f'subgraph cluster_{number} {{ label={told} tooltip="{_tip(cluster.name)}" '
            'labeljust=l fontcolor="#5b6570" color="#c3cad2" bgcolor="#f7f9fb" style=rounded'
        )
        inside[cluster.parent] += [f"  {line}" for line in inside.get(number, ())]
        inside[cluster.parent].append("}")
    yield from (f"  {line}" for line in inside.get(None, ()))


def _of_node(node: PictureNode) -> str:
    label = node.label if node.kind is not Kind.GROUP else f"{node.label} \u00d7{node.size:,}"
    shown = [bounded(label, _SHOWN)]
    if node.op and node.kind is not Kind.SWITCH:
        shown.append(bounded(node.op, _SHOWN if node.kind is not Kind.GROUP else 2 * _SHOWN))
    text = "\\n".join(_quoted(line)[1:-1] for line in shown)
    tip = "\\n".join(_tip(line) for line in node.tooltip())
    shape = " shape=hexagon" if node.kind is Kind.SWITCH else ""
    width = " penwidth=2.2" if node.is_output else ""
    paint = _paint(node).replace(",rounded", "") if shape else _paint(node)
    return f'label="{text}" tooltip="{tip}" {paint}{shape}{width}'


def _paint(node: PictureNode) -> str:
    if len(node.counts) > 1:
        shares = ":".join(
            f"{LIGHT[state].fill};{count / node.size:.5f}" for state, count in node.counts.items()
        )
        return f'style=striped fillcolor="{shares}" color="{LIGHT[node.state].line}"'
    return _paint_of(node.state)


def _paint_of(state: State) -> str:
    line = "dotted" if state.is_ghost else "dashed" if state in DASHED else "solid"
    paint = LIGHT[state]
    return f'style="filled,rounded,{line}" fillcolor="{paint.fill}" color="{paint.line}"'


def _edges(picture: Picture) -> Iterator[str]:
    for edge in picture.edges:
        width = "" if edge.weight < 3 else f" penwidth={1.6 if edge.weight < 30 else 2.4}"
        yield f"  n{edge.source} -> n{edge.target} [style={_EDGES[edge.kind]}{width}]"


def _legend(picture: Picture) -> Iterator[str]:
    yield '  subgraph cluster_legend { label="legend" labeljust=l color="#ffffff" fontsize=10'
    states = picture.states()
    for number, state in enumerate(states):
        yield f"    s{number} [label={_quoted(clean(state.value))} {_paint_of(state)} fontsize=9]"
    for number, kind in enumerate(picture.edge_kinds()):
        start, end = f"e{number}a", f"e{number}b"
        yield f'    {start} [label="" shape=point height=0.03]'
        yield f"    {end} [label={_quoted(_WORDS[kind])} shape=plaintext fontsize=9]"
        yield f"    {start} -> {end} [style={_EDGES[kind]}]"
    yield "  }"
