"""The page `/invariant` in the dashboard of a Dask scheduler."""

from __future__ import annotations

from typing import Any

from bokeh.layouts import column, row
from bokeh.models import CustomJS, Div, Select
from distributed.dashboard.components import DashboardComponent, add_periodic_callback
from distributed.dashboard.components.scheduler import BOKEH_THEME, env
from distributed.dashboard.core import BokehApplication
from distributed.dashboard.scheduler import template_variables
from tornado.ioloop import IOLoop

from invariant_dask.runtime import dashboard_text as text
from invariant_dask.runtime.board_run import WatchedRun
from invariant_dask.runtime.board_view import node_facts
from invariant_dask.runtime.dashboard_plots import GraphPlot, Timeline
from invariant_dask.runtime.dashboard_style import GRID, INK, PAGE, PANEL, SELECT, TEXT
from invariant_dask.runtime.dashboard_views import Views, find_node

INTERVAL = 300
"""Milliseconds between looks at the board."""

_TEMPLATE = f"""{{% extends "simple.html" %}}
{{% block extra_resources %}}<style>{PAGE}</style>{{% endblock %}}"""

# Style sheets do not reach what is drawn on canvas.
_PAINT = """
const media = window.matchMedia("(prefers-color-scheme: dark)")
const paint = () => {
  const theme = media.matches ? "dark" : "light"
  for (const axis of axes) {
    axis.setv({major_label_text_color: ink[theme], axis_label_text_color: ink[theme],
      axis_line_color: grid[theme], major_tick_line_color: grid[theme]})
  }
  for (const each of grids) each.setv({grid_line_color: grid[theme]})
  for (const glyph of labels) glyph.setv({text_color: ink[theme]})
}
paint()
media.addEventListener("change", paint)
"""


class BoardPage(DashboardComponent):  # type: ignore[misc]  # Dask's has no annotations
    """One browser's view of a board: of the latest run, or of the one it chose."""

    def __init__(self, views: Views, wanted: str) -> None:
        self.views = views
        self.chosen: str | None = None
        """The node, or op, whose facts are shown."""
        self._shown: tuple[str, int] | None = None
        self.select = Select(
            value=wanted,
            options=[("", "latest run")],
            width=230,
            name="invariant-runs",
            stylesheets=[SELECT],
        )
        self.heading = _div("invariant-heading", TEXT)
        self.tiles = _div("invariant-tiles", TEXT)
        self.ops = _div("invariant-ops")
        self.reasons, self.stores = _div("invariant-reasons"), _div("invariant-stores")
        self.failures, self.log = _div("invariant-failures"), _div("invariant-log")
        self.detail = _div("invariant-node")
        self.detail.text = (
            '<span class="soft">Click on a node, or on a bar of the timeline, to see why it ran, '
            "its digests and its record.</span>"
        )
        self.timeline = Timeline(self.choose)
        self.graph = GraphPlot(self.choose)
        self.root = column(
            row(self.heading, self.select, sizing_mode="stretch_width", spacing=12),
            self.tiles,
            row(self.graph.root, self.timeline.root, sizing_mode="stretch_width", spacing=10),
            row(self.detail, sizing_mode="stretch_width"),
            row(self.ops, sizing_mode="stretch_width"),
            row(self.reasons, self.failures, sizing_mode="stretch_width", spacing=10),
            row(self.stores, self.log, sizing_mode="stretch_width", spacing=10),
            sizing_mode="stretch_width",
            spacing=10,
            name="invariant-page",
        )

    def paint(self) -> CustomJS:
        """Return what gives canvases the colours of the browser's theme."""
        args = {
            "axes": self.timeline.axes,
            "grids": self.timeline.grids,
            "labels": [self.graph.labels],
            "ink": INK,
            "grid": GRID,
        }
        return CustomJS(args=args, code=_PAINT)

    def choose(self, name: str) -> None:
        """Show the facts of a node, or of an op in a picture of ops."""
        self.chosen = name
        run = self._run()
        if run is not None:
            self._show_chosen(run)

    def _run(self) -> WatchedRun | None:
        return self.views.board.runs.get(self.select.value) or self.views.board.latest

    def update(self) -> None:
        """Show what is new since the last look."""
        run = self._run()
        if run is None:
            self.heading.text = text.nothing_yet()
            return
        self._offer_runs()
        shown = run.run, run.version
        if shown == self._shown and run.state.state != "running":
            return
        found = self.views.details(run)
        self.heading.text = text.heading(found)
        if shown == self._shown:
            return
        if self._shown is None or self._shown[0] != run.run:
            self.chosen = None
        self._shown = shown
        self.ops.text = text.ops(found)
        self.reasons.text = text.reasons(found)
        self.stores.text = text.stores(found)
        self.failures.text = text.failures(found)
        self.log.text = text.log(found)
        self.timeline.update(run)
        self.graph.update(run, self.views.picture(run))
        self._show_chosen(run)
        # Last: whoever sees these numbers sees all else as new as they are.
        self.tiles.text = text.tiles(found)

    def _offer_runs(self) -> None:
        runs = reversed(self.views.board.runs.values())
        offered = [("", "latest run")]
        for run in runs:
            name = "graph" if run.state.asked is None else run.state.asked.graph or "graph"
            offered.append((run.run, f"{name[:24]} {run.run[:8]} {run.state.state[:12]}"))
        self.select.options = offered

    def _show_chosen(self, run: WatchedRun) -> None:
        if self.chosen is None:
            return
        node = find_node(run, self.chosen)
        if node is not None:
            self.detail.text = text.node_summary(run.run, node_facts(node))
        elif self.chosen in run.ops:
            self.detail.text = text.op_summary(self.chosen, run.ops[self.chosen].counts)


def _div(name: str, style: str = PANEL) -> Div:
    # Dollar signs in somebody's text are no formulas.
    return Div(
        text="", name=name, stylesheets=[style], sizing_mode="stretch_width", disable_math=True
    )


def add_page(scheduler: Any, views: Views, prefix: str) -> None:
    """Add the page to a scheduler's dashboard, and its name to the bar of all pages."""

    def show(_scheduler: Any, extra: dict[str, Any], doc: Any) -> None:
        given = doc.session_context.request.arguments.get("run", [b""])[0]
        page = BoardPage(views, given.decode(errors="replace")[:200])
        page.update()
        add_periodic_callback(doc, page, INTERVAL)
        doc.add_root(page.root)
        doc.js_on_event("document_ready", page.paint())
        doc.title = "Dask: Invariant"
        doc.theme = BOKEH_THEME
        doc.template = env.from_string(_TEMPLATE)
        doc.template_variables.update(extra)

    variables = template_variables(scheduler)
    application = BokehApplication(
        {"/invariant": show}, scheduler, prefix=prefix, template_variables=variables
    )
    scheduler.http_application.add_application(application)
    application.initialize(IOLoop.current())
    application.start()
    # All pages share this list, those that were made before too.
    if "invariant" not in variables["pages"]:
        variables["pages"].append("invariant")
