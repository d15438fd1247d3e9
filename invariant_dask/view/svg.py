"""A picture as SVG of our own: a fragment for a page, a report or a notebook, without any script.

Colours are variables of CSS, so that light and dark are one drawing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from invariant_dask.view.layers import Point
from invariant_dask.view.layout import LABEL_SIZE, OP_SIZE, Box, Layout, lay_out
from invariant_dask.view.picture import Edge, EdgeKind, Kind, Picture, PictureNode
from invariant_dask.view.states import DARK, DASHED, LIGHT, Paint, State
from invariant_dask.view.text import bounded, fitted, markup, width_of

_NAMESPACE = "http://www.w3.org/2000/svg"
_MARGIN = 16.0
_MOST_LINES = 12
_CSS_OF = {EdgeKind.DATA: "data", EdgeKind.ORDER: "order", EdgeKind.GHOST: "ghost"}
_EDGE_WORDS = {
    EdgeKind.DATA: "data",
    EdgeKind.ORDER: "order only",
    EdgeKind.GHOST: "may come to be",
}


def _variables(paints: dict[State, Paint], **others: str) -> str:
    colours = {f"{state.css}-fill": paint.fill for state, paint in paints.items()}
    colours |= {f"{state.css}-line": paint.line for state, paint in paints.items()}
    named = {**colours, **others}
    return "".join(f"--{name}:{colour};" for name, colour in named.items())


def _style() -> str:
    light = _variables(
        LIGHT, paper="#ffffff", ink="#1b1f24", faint="#5b6570", edge="#7a848f", box="#c3cad2",
        tint="#f7f9fb",
    )  # fmt: skip
    dark = _variables(
        DARK, paper="#14171b", ink="#eceff2", faint="#a3adb8", edge="#7e8995", box="#434c56",
        tint="#1b1f25",
    )  # fmt: skip
    font = "system-ui,-apple-system,'Segoe UI','DejaVu Sans',Arial,sans-serif"
    rules = [
        f".ivp{{color-scheme:light dark;{light}}}",
        f"@media(prefers-color-scheme:dark){{.ivp{{{dark}}}}}",
        f"svg.ivp{{background:var(--paper);font-family:{font};}}",
        f".ivp text{{fill:var(--ink);font-size:{LABEL_SIZE:g}px}}",
        f".ivp text.op{{fill:var(--ink);opacity:.78;font-size:{OP_SIZE:g}px}}",
        ".ivp text.head{font-weight:600;font-size:14px}",
        ".ivp text.quiet{fill:var(--faint)}",
        ".ivp .node>.shape{stroke-width:1.2}",
        ".ivp .output>.shape{stroke-width:2.6}",
        ".ivp .edge path{stroke:var(--edge);fill:none;stroke-width:1.1}",
        ".ivp .edge path.tip{fill:var(--edge);stroke:none}",
        ".ivp .edge.w2 path{stroke-width:1.8}",
        ".ivp .edge.w3 path{stroke-width:2.6}",
        ".ivp .edge.order path{stroke-dasharray:6 4}",
        ".ivp .edge.ghost path{stroke-dasharray:1.5 3.5;stroke-linecap:round}",
        ".ivp .cluster rect{fill:var(--tint);stroke:var(--box)}",
        ".ivp .cluster text{fill:var(--faint);font-weight:600;font-size:11px}",
    ]
    for state in State:
        dashes = "stroke-dasharray:4 3;" if state in DASHED else ""
        dashes = "stroke-dasharray:1.5 3;stroke-linecap:round;" if state.is_ghost else dashes
        fill, line = f"var(--{state.css}-fill)", f"var(--{state.css}-line)"
        rules.append(f".ivp .{state.css}>.shape{{fill:{fill};stroke:{line};{dashes}}}")
        rules.append(f".ivp .bar.{state.css}{{fill:{fill};stroke:{line};stroke-width:.8}}")
    rules.append(".ivp .mixed>.shape{fill:var(--tint);stroke:var(--edge)}")
    return "".join(rules)


STYLE = _style()
"""What a page needs that holds such fragments, once."""


def svg_of(picture: Picture, *, style: bool = True, legend: bool = True) -> str:
    """Return a picture as an `svg` element.

    Parameters
    ----------
    picture
        What to draw.
    style
        Whether colours go into it; a page with several fragments has `STYLE` once instead.
    legend
        Whether the line above and the legend go into it.
    """
    layout = lay_out(picture)
    head, top = _head(picture, max(layout.width, 560.0)) if legend else ([], 0.0)
    width = max(layout.width, 560.0 if legend else 0.0) + 2 * _MARGIN
    height = layout.height + top + 2 * _MARGIN
    title = markup(bounded(": ".join(filter(None, (picture.title, picture.summary)))))
    size = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
    parts = [
        f'<svg class="ivp" xmlns="{_NAMESPACE}" role="img" aria-label="{title}" {size}>',
        f"<style>{STYLE}</style>" if style else "",
        *head,
        f'<g class="scene" transform="translate({_MARGIN:g} {_MARGIN + top:g})">',
        *_scene(picture, layout),
        "</g></svg>",
    ]
    return "\n".join(filter(None, parts)) + "\n"


def _scene(picture: Picture, layout: Layout) -> Iterator[str]:
    for cluster, box in zip(picture.clusters, layout.clusters, strict=True):
        yield (
            f'<g class="cluster"><title>{markup(bounded(cluster.name))}</title>'
            f'{_rect(box, 8)}<text x="{box.x + 10:.1f}" y="{box.y + 14:.1f}">'
            f"{markup(box.label)}</text></g>"
        )
    for edge, points in zip(picture.edges, layout.edges, strict=True):
        yield _edge(edge, points)
    for number, (node, box) in enumerate(zip(picture.nodes, layout.nodes, strict=True)):
        yield _node(number, node, box)


def _rect(box: Box, radius: float, css: str = "") -> str:
    return (
        f'<rect{css} x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" '
        f'height="{box.height:.1f}" rx="{radius:g}"/>'
    )


def _node(number: int, node: PictureNode, box: Box) -> str:
    lines = [bounded(line) for line in node.tooltip()]
    if len(lines) > _MOST_LINES:
        lines[_MOST_LINES:] = [f"and {len(lines) - _MOST_LINES} more"]
    shape = _hexagon(box) if node.kind is Kind.SWITCH else _rect(box, 6, ' class="shape"')
    bars = "".join(_bars(node, box)) if len(node.counts) > 1 else ""
    centre, y = box.x + box.width / 2, box.y + (15 if box.below else 17)
    below = (
        f'<text class="op" x="{centre:.1f}" y="{box.y + 29:.1f}" text-anchor="middle">'
        f"{markup(box.below)}</text>"
        if box.below
        else ""
    )
    css = f"node {'mixed' if bars else node.state.css}{' output' if node.is_output else ''}"
    told = "\n".join(map(markup, lines))
    return (
        f'<g class="{css}" data-n="{number}"><title>{told}</title>{shape}{bars}'
        f'<text x="{centre:.1f}" y="{y:.1f}" text-anchor="middle">{markup(box.label)}</text>'
        f"{below}</g>"
    )


def _hexagon(box: Box) -> str:
    left, right, bottom = box.x, box.x + box.width, box.y + box.height
    points = [
        (left, box.middle), (left + 11, box.y), (right - 11, box.y), (right, box.middle),
        (right - 11, bottom), (left + 11, bottom),
    ]  # fmt: skip
    told = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polygon class="shape" points="{told}"/>'


def _bars(node: PictureNode, box: Box) -> Iterator[str]:
    """Yield what shows how much of a group is in each state; a little of it can be seen too."""
    x, whole, least = box.x + 8, box.width - 16, 3.0
    for state, count in node.counts.items():
        width = least + (whole - least * len(node.counts)) * count / node.size
        bar = Box(x, box.y + box.height - 12, width, 6)
        yield _rect(bar, 1, f' class="bar {state.css}"')
        x += width


def _edge(edge: Edge, points: Sequence[Point]) -> str:
    weight = "" if edge.weight < 3 else " w2" if edge.weight < 30 else " w3"
    (x, y), before = points[-1], points[-2]
    point = 5.5 if before[0] <= x else -5.5
    return (
        f'<g class="edge {_CSS_OF[edge.kind]}{weight}" data-s="{edge.source}" '
        f'data-t="{edge.target}"><path d="{_curve([*points[:-1], (x - point, y)])}"/>'
        f'<path class="tip" d="M{x:.1f} {y:.1f}l{-point * 1.3:.1f} -3.2v6.4z"/></g>'
    )


def _curve(points: Sequence[Point]) -> str:
    told = [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
    for (x0, y0), (x1, y1) in pairwise(points):
        half = (x1 - x0) / 2
        told.append(f"C{x0 + half:.1f} {y0:.1f} {x1 - half:.1f} {y1:.1f} {x1:.1f} {y1:.1f}")
    return "".join(told)


def _head(picture: Picture, width: float) -> tuple[list[str], float]:
    """Return the lines above and the legend, and how high they are."""
    lines = [picture.summary, *picture.remarks]
    y, parts = _MARGIN + 12, []
    if picture.title:
        title = fitted(picture.title, width, 14)
        parts.append(f'<text class="head" x="{_MARGIN:g}" y="{y:g}">{markup(title)}</text>')
        y += 19
    for line in lines:
        shown = fitted(line, width, LABEL_SIZE)
        parts.append(f'<text class="quiet" x="{_MARGIN:g}" y="{y:g}">{markup(shown)}</text>')
        y += 17
    x, y = _MARGIN, y + 3
    for swatch, words in _legend(picture):
        room = 40 + width_of(words, LABEL_SIZE)
        if x > _MARGIN and x + room > width:
            x, y = _MARGIN, y + 20
        parts.append(
            f'<g transform="translate({x:.1f} {y - 11:.1f})">{swatch}'
            f'<text x="28" y="11">{markup(words)}</text></g>'
        )
        x += room
    return parts, y + 6


def _legend(picture: Picture) -> Iterable[tuple[str, str]]:
    """Yield a small drawing and what it stands for."""
    for state in picture.states():
        swatch = '<rect class="shape" x="1" y="1" width="21" height="13" rx="3"/>'
        yield f'<g class="{state.css}">{swatch}</g>', state.value
    for kind in picture.edge_kinds():
        line = f'<g class="edge {_CSS_OF[kind]}"><path d="M0 8H22"/></g>'
        yield line, _EDGE_WORDS[kind]


def legend_items(picture: Picture) -> list[tuple[str, str]]:
    """Return the legend for a page: for each entry an `svg` element, and what it stands for."""
    return [
        (f'<svg class="ivp swatch" width="23" height="15" aria-hidden="true">{drawn}</svg>', words)
        for drawn, words in _legend(picture)
    ]
