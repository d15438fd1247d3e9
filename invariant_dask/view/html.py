"""A page of its own with a picture to move around in. It fetches nothing and may not."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files

from invariant_dask.view.picture import Picture
from invariant_dask.view.svg import STYLE, legend_items, svg_of
from invariant_dask.view.text import bounded, markup


def html_of(picture: Picture) -> str:
    """Return a picture as a whole HTML page.

    Notes
    -----
    The page forbids itself the network, and any script or style but its own, which are named by
    their hashes.
    """
    script, style = _asset("page.js"), STYLE + _asset("page.css")
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    title = markup(bounded(picture.title or "graph"))
    legend = "".join(f"<li>{drawn}{markup(words)}</li>" for drawn, words in legend_items(picture))
    told = "".join(
        f"<p>{markup(bounded(line))}</p>" for line in (picture.summary, *picture.remarks)
    )
    return f"""<!DOCTYPE html>
<html lang="en" class="ivp">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header>
<h1>{title}</h1>{told}
<div class="tools"><span id="found" role="status"></span>
<input id="search" type="search" placeholder="find a node, op or state" aria-label="find">
<button id="out" aria-label="smaller">&minus;</button><button id="in" aria-label="larger">+</button>
<button id="fit">all</button></div>
</header>
<ul class="legend" aria-label="legend">{legend}</ul>
<main>
{svg_of(picture, style=False, legend=False)}<div id="tip" hidden></div>
</main>
<script>{script}</script>
</body>
</html>
"""


@cache
def _asset(name: str) -> str:
    return (files("invariant_dask.view") / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
