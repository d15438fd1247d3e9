"""The report of a run: one page that needs nothing else, made from what its events tell.

Equal states give equal pages. The size of a page is bounded, however many nodes there were: what is
left out is said where it would stand.
"""

from __future__ import annotations

import html
import os
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from invariant_dask.ledger.events import Event
from invariant_dask.ledger.folding import RunState
from invariant_dask.store.sizes import size_text
from invariant_dask.view import chapters, timing
from invariant_dask.view.amounts import count_text, moment_text, seconds_text
from invariant_dask.view.happened import picture_of_run
from invariant_dask.view.shell import block, note, page, text
from invariant_dask.view.states import State
from invariant_dask.view.svg import STYLE, legend_items, svg_of

WIDEST = 1900
"""Pixels of a picture that is made to fit; in a wider one a reader moves around."""


def report_page(state: RunState, events: Sequence[Event] | None = None) -> str:
    """Return what a run did as an HTML page of its own, without scripts.

    Parameters
    ----------
    state
        The state of the run.
    events
        Its events, if they are at hand: with them attempts that failed are in the timeline, bytes
        are told by tier, and more log lines are there.
    """
    told = [
        ("failures", "Failures", chapters.failures(state)),
        ("reasons", "Why nodes ran", chapters.reasons(state)),
        ("timeline", "Timeline", timing.timeline(state, events)),
        ("path", "Critical path", timing.critical(state)),
        ("ops", "Ops", timing.ops(state)),
        ("reuse", "Reuse", chapters.reuse(state, events)),
        ("graph", "Graph", _graph(state)),
        ("log", "Log lines", chapters.log(state, events)),
        ("asked", "What was asked", chapters.asked(state)),
        ("environment", "Environment", chapters.environment(state)),
        ("digests", "Digests", chapters.digests(state)),
    ]
    there = [(name, title, content) for name, title, content in told if content]
    links = "".join(f'<a href="#{name}">{title}</a>' for name, title, _ in there)
    sections = "\n".join(
        f'<section id="{name}"><h2>{title}</h2>{content}</section>'
        for name, title, content in there
    )
    body = f'<div class="page">{_head(state)}<nav>{links}</nav>\n{sections}\n</div>'
    return page(f"{_name(state)}: {state.state}", _style(), body)


def _name(state: RunState) -> str:
    graph = state.asked.graph if state.asked is not None else ""
    return graph or f"run {state.run[:8]}"


def _head(state: RunState) -> str:
    counts = state.counts()
    parts = [
        f"run {state.run[:8]}" if _name(state) != f"run {state.run[:8]}" else "",
        moment_text(state.started),
        f"{seconds_text(state.seconds)} in all" if state.ended else "",
        f"{seconds_text(state.busy)} of op time" if counts["ran"] else "",
    ]
    saved = ""
    if counts["reused"]:
        reused = sum(node.size for node in state.nodes.values() if node.state == "reused")
        saved = (
            f'<li class="s saved b-reused"><b>{text(seconds_text(state.saved))}</b>'
            f"<span>of op time saved, {text(size_text(reused))} reused</span></li>"
        )
    error = f'<div class="error">{block(state.error, 2000)}</div>' if state.error else ""
    if not state.ended and state.state == "running":
        error = note("Nobody told that it ended: it runs still, or was killed.")
    badge = f'<span class="badge {text(state.state)}">{text(state.state)}</span>'
    lead = " · ".join(filter(None, parts))
    return (
        f"<header><h1>{text(_name(state))}{badge}</h1>"
        f'<p class="lead">{text(lead)}</p>{error}<ul class="tiles">'
        f"{''.join(chapters.tiles(state))}{saved}</ul>{chapters.strip(state)}</header>"
    )


def _graph(state: RunState) -> str:
    picture = picture_of_run(state)
    if picture is None:
        return note("There are too many nodes, or none.")
    legend = "".join(f"<li>{drawn}{text(words)}</li>" for drawn, words in legend_items(picture))
    remarks = "".join(map(note, picture.remarks))
    drawn = svg_of(picture, style=False, legend=False)
    width = re.search(r'width="(\d+)"', drawn)
    fits = " fits" if width and int(width[1]) <= WIDEST else ""
    return f'<ul class="legend">{legend}</ul><div class="graph{fits}">{drawn}</div>{remarks}'


@cache
def _style() -> str:
    """Return the style of the page; colours of states are variables in it."""
    own = (files("invariant_dask.view") / "report.css").read_text(encoding="utf-8")
    states = "".join(
        f".c-{each.css}{{background:var(--{each.css}-fill);border-color:var(--{each.css}-line)}}"
        f".tiles .b-{each.css}{{border-left-color:var(--{each.css}-line)}}"
        f".f-{each.css}{{fill:var(--{each.css}-fill);stroke:var(--{each.css}-line)}}"
        for each in State
    )
    return f"{STYLE}{states}{own}"


@dataclass(frozen=True, slots=True)
class Report:
    """The report of a run: a notebook shows it, `save` writes it.

    Attributes
    ----------
    html
        The page.
    title
        What it is the report of.
    """

    html: str
    title: str

    def save(self, filename: str | os.PathLike[str]) -> Path:
        """Write the page to a file, which is complete or not there at all; return the path."""
        path = Path(filename)
        aside = path.with_name(f".{secrets.token_hex(8)}{path.suffix}")
        try:
            aside.write_text(self.html, encoding="utf-8")
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
        return path

    def __repr__(self) -> str:
        return f"<Report: {self.title}, {size_text(len(self.html))}>"

    def _repr_html_(self) -> str:
        # In a frame of its own: neither its style nor its names meet those of the notebook.
        return (
            f'<iframe sandbox srcdoc="{html.escape(self.html)}" width="100%" height="640" '
            'style="border:1px solid #8888;border-radius:6px"></iframe>'
        )


def report_of(state: RunState, events: Sequence[Event] | None = None) -> Report:
    """Return the report of a run."""
    counts = state.counts()
    told = f"{_name(state)}, {state.state}, {count_text(sum(counts.values()), 'node')}"
    return Report(report_page(state, events), told)
