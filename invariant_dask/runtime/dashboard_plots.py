"""The parts of the page that are drawn."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

from bokeh.layouts import column
from bokeh.models import (
    BasicTickFormatter,
    Bezier,
    ColumnDataSource,
    Div,
    FactorRange,
    HoverTool,
    TapTool,
    Text,
)
from bokeh.plotting import figure
from distributed.utils import color_of

from invariant_dask.runtime import dashboard_text as text
from invariant_dask.runtime.board_picture import Picture, state_of
from invariant_dask.runtime.board_run import DONE, SPANS, Span, WatchedRun
from invariant_dask.runtime.dashboard_style import (
    CARD,
    COLOURS,
    INK,
    PANEL,
    show_seconds,
)

LABELLED = 45
"""The most spots of a picture that have their name beside them."""

TALL = 330
"""Pixels."""

Choose = Callable[[str], None]


def _title(words: str, about: str) -> Div:
    return Div(
        text=f"<h2>{words} <small>{about}</small></h2>",
        stylesheets=[PANEL + ":host { background: none; border: 0; padding: 0; }"],
        sizing_mode="stretch_width",
        disable_math=True,
    )


def _card(*parts: Any) -> Any:
    return column(*parts, sizing_mode="stretch_width", stylesheets=[CARD], margin=5)


def _figure(height: int, **options: Any) -> Any:
    plot = figure(
        height=height, sizing_mode="stretch_width", toolbar_location="right",
        background_fill_alpha=0, border_fill_alpha=0, outline_line_alpha=0, **options,
    )  # fmt: skip
    plot.toolbar.logo = None
    plot.toolbar.autohide = True
    return plot


class Timeline:
    """Executions of ops by worker, coloured by op as in Dask's task stream."""

    def __init__(self, choose: Choose) -> None:
        self.source = ColumnDataSource(self._columns([], 0), name="invariant-timeline")
        self.lanes = FactorRange()
        plot = _figure(
            TALL + 24, y_range=self.lanes, tools="xpan,xwheel_zoom,box_zoom,reset",
            active_scroll="xwheel_zoom", active_drag="xpan",
        )  # fmt: skip
        bars = plot.hbar(
            y="lane", left="start", right="end", height=0.76, color="color", source=self.source,
            line_color="edge", line_width=1, nonselection_alpha=0.5,
        )  # fmt: skip
        plot.add_tools(
            HoverTool(
                renderers=[bars],
                tooltips=[("node", "@node"), ("op", "@op"), ("state", "@state"), ("took", "@took")],
            ),
            TapTool(renderers=[bars]),
        )
        plot.xaxis.axis_label = "seconds since the run began"
        plot.xaxis.axis_label_text_font_style = "normal"
        plot.xaxis.formatter = BasicTickFormatter(use_scientific=False)
        plot.ygrid.visible = False
        self.plot, self.axes, self.grids = plot, [*plot.xaxis, *plot.yaxis], [*plot.xgrid]
        self.root = _card(_title("Timeline", "by worker, coloured by op"), plot)
        self.source.selected.on_change("indices", _chooser(self.source, choose))
        self._run, self._sent, self._origin = "", 0, 0

    def update(self, run: WatchedRun) -> None:
        """Add what was executed since."""
        lanes = run.lanes[::-1]
        if lanes != list(self.lanes.factors):
            self.lanes.factors = lanes
            self.plot.height = min(520, max(TALL + 24, 80 + 20 * len(lanes)))
        if run.run != self._run:
            self._run, self._sent = run.run, 0
            self._origin = run.state.started or (run.spans[0].start if run.spans else 0)
            self.source.selected.indices = []
            self.source.data = self._columns([], 0)
        new = min(run.spanned - self._sent, len(run.spans))
        if not new:
            return
        if not self._origin:
            self._origin = run.state.started or run.spans[0].start
        self._sent = run.spanned
        spans = list(islice(run.spans, len(run.spans) - new, None))
        self.source.stream(self._columns(spans, self._origin), rollover=SPANS)

    @staticmethod
    def _columns(spans: list[Span], origin: int) -> dict[str, list[Any]]:
        failed = COLOURS["failed"]
        return {
            "node": [span.node for span in spans],
            "op": [span.op for span in spans],
            "state": [span.state for span in spans],
            "lane": [span.lane for span in spans],
            "start": [(span.start - origin) / 1e9 for span in spans],
            "end": [(span.end - origin) / 1e9 for span in spans],
            "took": [show_seconds((span.end - span.start) / 1e9) for span in spans],
            "color": [failed if span.state == "failed" else color_of(span.op) for span in spans],
            "edge": [failed if span.state == "failed" else "#ffffff40" for span in spans],
        }


class GraphPlot:
    """The graph, coloured by state."""

    def __init__(self, choose: Choose) -> None:
        self.spots = ColumnDataSource(
            {name: [] for name in ("name", "about", "state", "why", "x", "y", "color", "size")},
            name="invariant-graph",
        )
        self.named = ColumnDataSource({"x": [], "y": [], "label": []})
        self.lines = ColumnDataSource({name: [] for name in ("x0", "y0", "x1", "y1", "c0", "c1")})
        plot = _figure(
            TALL, tools="pan,wheel_zoom,reset", active_scroll="wheel_zoom", active_drag="pan"
        )
        plot.axis.visible = plot.grid.visible = False
        plot.x_range.range_padding = plot.y_range.range_padding = 0.2
        plot.add_glyph(
            self.lines,
            Bezier(
                x0="x0", y0="y0", x1="x1", y1="y1", cx0="c0", cy0="y0", cx1="c1", cy1="y1",
                line_color="#8c99a8", line_alpha=0.55, line_width=1.2,
            ),
        )  # fmt: skip
        dots = plot.scatter(
            "x", "y", size="size", fill_color="color", line_color="#ffffff90", line_width=1,
            source=self.spots, nonselection_alpha=0.55,
        )  # fmt: skip
        self.labels = Text(
            x="x", y="y", text="label", text_color=INK["light"], text_font_size="11px",
            text_align="center", text_baseline="top", y_offset=9,
        )  # fmt: skip
        plot.add_glyph(self.named, self.labels)
        plot.add_tools(
            HoverTool(
                renderers=[dots],
                tooltips=[("", "@name"), ("op", "@about"), ("state", "@state"), ("why", "@why")],
            ),
            TapTool(renderers=[dots]),
        )
        self.plot = plot
        shown = ("ran", "reused", "running", "failed", "planned", "skipped", "cancelled")
        self.key = Div(
            text=text.key(shown),
            stylesheets=[PANEL + ":host { background: none; border: 0; padding: 0 0 2px; }"],
        )
        self.title = _title("Graph", "")
        self.root = _card(self.title, plot, self.key)
        self.spots.selected.on_change("indices", _chooser(self.spots, choose))
        self._picture: Picture | None = None
        self._states: list[tuple[str, str]] = []

    def update(self, run: WatchedRun, picture: Picture) -> None:
        """Draw a picture if it is a new one, and colour what is in another state."""
        now = [self._state(run, picture, spot.name) for spot in picture.spots]
        if picture is not self._picture:
            self._draw(run, picture, now)
        else:
            pairs = enumerate(zip(self._states, now, strict=True))
            changed = [number for number, (old, new) in pairs if old != new]
            if changed:
                self.spots.patch(
                    {
                        "color": [(n, COLOURS[now[n][0]]) for n in changed],
                        "state": [(n, now[n][1]) for n in changed],
                    }
                )
            if picture.by_op and changed and self.named.data["label"]:
                self.named.patch({"label": [(slice(None), self._labels(run, picture))]})
        self._states = now

    @staticmethod
    def _labels(run: WatchedRun, picture: Picture) -> list[str]:
        if not picture.by_op:
            return [_short(spot.name) for spot in picture.spots]
        ops = [run.ops[spot.name] for spot in picture.spots]
        return [
            f"{_short(op.op)} {sum(op.counts[state] for state in DONE)}/{sum(op.counts.values())}"
            for op in ops
        ]

    def _state(self, run: WatchedRun, picture: Picture, name: str) -> tuple[str, str]:
        """Return the state that gives the colour, and the one in words."""
        if picture.by_op:
            counts = run.ops[name].counts
            words = ", ".join(f"{count} {state}" for state, count in counts.items() if count > 0)
            return state_of(run.ops[name]), words
        state = run.state.nodes[name].state
        return state, state

    def _draw(self, run: WatchedRun, picture: Picture, now: list[tuple[str, str]]) -> None:
        spots, nodes = picture.spots, run.state.nodes
        self._picture = picture
        self.title.text = (
            f"<h2>Graph <small>{len(spots)} {'ops' if picture.by_op else 'nodes'}"
            f"{', grouped by op' if picture.by_op else ''}</small></h2>"
        )
        size = 13 if len(spots) <= LABELLED else 9 if len(spots) <= 300 else 6
        self.spots.selected.indices = []
        self.spots.data = {
            "name": [spot.name for spot in spots],
            "about": [spot.name if picture.by_op else nodes[spot.name].op for spot in spots],
            "why": ["" if picture.by_op else nodes[spot.name].why[:300] for spot in spots],
            "state": [words for _, words in now],
            "color": [COLOURS[state] for state, _ in now],
            "x": [spot.x for spot in spots],
            "y": [spot.y for spot in spots],
            "size": [size] * len(spots),
        }
        few = spots if len(spots) <= LABELLED else ()
        self.named.data = {
            "x": [spot.x for spot in few],
            "y": [spot.y for spot in few],
            "label": self._labels(run, picture) if few else [],
        }
        ends = [(spots[source], spots[target]) for source, target in picture.lines]
        self.lines.data = {
            "x0": [a.x for a, _ in ends],
            "y0": [a.y for a, _ in ends],
            "x1": [b.x for _, b in ends],
            "y1": [b.y for _, b in ends],
            "c0": [(a.x + b.x) / 2 for a, b in ends],
            "c1": [(a.x + b.x) / 2 for a, b in ends],
        }


def _chooser(source: ColumnDataSource, choose: Choose) -> Callable[[str, Any, list[int]], None]:
    def chosen(_attribute: str, _old: Any, indices: list[int]) -> None:
        names = source.data["name" if "name" in source.data else "node"]
        if indices and 0 <= indices[0] < len(names):
            choose(names[indices[0]])

    return chosen


def _short(name: str) -> str:
    return name if len(name) <= 22 else f"{name[:20]}..."
