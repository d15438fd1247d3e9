"""Addresses below `/invariant` on a scheduler's HTTP server: the JSON API, and a page per node.

They only tell what the board remembers. Nothing is read from disk, nothing that somebody sent is
run, and the pages forbid browsers to run anything.
"""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from dask.utils import key_split
from tornado.web import RequestHandler

from invariant_dask.runtime.board import Board
from invariant_dask.runtime.board_run import WINDOW, WatchedRun
from invariant_dask.runtime.board_view import details, node_facts, overview
from invariant_dask.runtime.dashboard_style import PAGE, TEXT
from invariant_dask.runtime.dashboard_text import node_table
from invariant_dask.runtime.dashboard_views import find_node

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"

FindKey = Callable[[str], str]
"""Returns Dask's key for a planned digest in hex, empty if the scheduler holds none."""


class _Handler(RequestHandler):
    def initialize(self, board: Board, find_key: FindKey) -> None:
        self.board = board
        self.find_key = find_key

    def set_default_headers(self) -> None:
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Content-Security-Policy", POLICY)
        self.set_header("Referrer-Policy", "same-origin")

    def answer(self, data: dict[str, Any], status: int = 200) -> None:
        self.set_status(status)
        self.set_header("Content-Type", "application/json; charset=UTF-8")
        self.write(json.dumps(data))

    def missing(self, what: str) -> None:
        self.answer({"error": what}, 404)

    def argument(self, name: str) -> str:
        return str(self.get_query_argument(name, "", strip=False))

    def run(self, name: str) -> WatchedRun | None:
        return self.board.latest if name == "latest" else self.board.runs.get(name)


class Api(_Handler):
    """`/invariant/api`: all runs in short, and the latest in full."""

    def get(self) -> None:
        self.answer(overview(self.board))


class RunApi(_Handler):
    """`/invariant/api/run/<id>`: one run in full; `latest` is an id too."""

    def get(self, name: str) -> None:
        run = self.run(name)
        if run is None:
            self.missing("no such run is remembered")
        else:
            self.answer(details(run, self.board.clock()))


class NodeApi(_Handler):
    """`/invariant/api/node?run=...&node=...`: one node of a run."""

    def get(self) -> None:
        run = self.run(self.argument("run"))
        node = None if run is None else find_node(run, self.argument("node"))
        if node is None:
            self.missing("no such node is remembered")
        else:
            self.answer(node_facts(node))


class NodePage(_Handler):
    """`/invariant/node?run=...&node=...`: what is known of one node, to read."""

    def get(self) -> None:
        name = self.argument("node")
        run = self.run(self.argument("run"))
        node = None if run is None else find_node(run, name)
        if run is None or node is None:
            self.set_status(404)
            self.write(_page(name, _FORGOTTEN))
            return
        facts = node_facts(node)
        parts = [node_table(facts)]
        if node.inputs:
            links = ", ".join(_link(run.run, each) for each in node.inputs)
            parts.append(f"<h2>Inputs</h2><p>{links}</p>")
        if node.traceback:
            parts.append(f"<h2>Traceback</h2><pre class=full>{html.escape(node.traceback)}</pre>")
        parts.append(f"<h2>More</h2><ul>{self._more(run.run, node.digest, node.node)}</ul>")
        self.write(_page(node.node, "".join(parts), node.op))

    def _more(self, run: str, digest: str, node: str) -> str:
        found = [
            f'<li><a href="api/node?run={_quoted(run)}&amp;node={_quoted(node)}">as JSON</a></li>'
        ]
        if key := self.find_key(digest):
            found.append(
                f'<li><a href="../info/task/{_quoted(key)}.html">its task in Dask</a></li>'
            )
        if digest:
            command = html.escape(f"invariant-dask store show {digest}")
            found.append(f"<li>its record in the store: <code>{command}</code></li>")
        return "".join(found)


_FORGOTTEN = (
    "<p>Nothing is remembered of such a node. A scheduler knows its latest runs, and of each the "
    f"latest {WINDOW} nodes.</p>"
)


def _page(title: str, body: str, about: str = "") -> str:
    style = (PAGE + TEXT).replace(":host", "body") + _LAYOUT
    name = html.escape(title)
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Invariant: {name[:100]}</title><style>{style}</style></head><body>"
        '<p><a href="../invariant">Invariant</a> &middot; <a href="../status">Status</a></p>'
        f"<h1>{name} <small>{html.escape(about)}</small></h1><main>{body}</main></body></html>"
    )


_LAYOUT = """
body { background: var(--card); margin: 0 auto; max-width: 1000px; padding: 16px; }
h1 { font-size: 22px; margin: 12px 0; overflow-wrap: anywhere; }
h1 small { color: var(--soft); font-size: 15px; font-weight: 400; }
h2 { margin-top: 20px; } td:first-child { color: var(--soft); white-space: nowrap; width: 130px; }
pre.full { max-height: none; }
"""


def _link(run: str, node: str) -> str:
    return f'<a href="node?run={_quoted(run)}&amp;node={_quoted(node)}">{html.escape(node)}</a>'


def _quoted(text: str) -> str:
    return quote(text, safe="")


def routes(prefix: str, board: Board, find_key: FindKey) -> list[tuple[str, type, dict[str, Any]]]:
    """Return tornado's routes for a board."""
    given = {"board": board, "find_key": find_key}
    return [
        (f"{prefix}/invariant/api", Api, given),
        (f"{prefix}/invariant/api/run/([^/]+)", RunApi, given),
        (f"{prefix}/invariant/api/node", NodeApi, given),
        (f"{prefix}/invariant/node", NodePage, given),
    ]


def key_finder(scheduler: Any) -> FindKey:
    """Return what finds the key of a digest among the tasks of a scheduler."""

    def find(digest: str) -> str:
        if not digest:
            return ""
        # A key is the op's name as the dashboard shows it, and the digest.
        for prefix in list(scheduler.task_prefixes):
            key = f"{prefix}-{digest}"
            if key in scheduler.tasks and key_split(key) == prefix:
                return key
        return ""

    return find
