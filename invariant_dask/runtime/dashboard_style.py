"""Colours and style sheets of the dashboard, light and dark, and words for numbers."""

from __future__ import annotations

COLOURS = {
    "ran": "#e0962a",
    "reused": "#2fa36b",
    "shared": "#58b8a4",
    "running": "#3d7fd9",
    "failed": "#d8413f",
    "skipped": "#a06cc4",
    "cancelled": "#8a7d96",
    "planned": "#a9b4c2",
    "not looked at": "#c9d1da",
    "inline": "#c9d1da",
}
"""Of states, much as in pictures and reports.

They can be told apart by those who do not see red or green, and on light and dark.
"""

INK, GRID = {"light": "#3b4754", "dark": "#b9c3ce"}, {"light": "#e3e7ec", "dark": "#333c47"}
"""Of what is drawn on canvas, where style sheets do not reach."""

_VARIABLES = """
:host, :root { --ink: #24303c; --soft: #66727f; --card: #ffffff; --line: #dfe4ea; --code: #f3f5f8;
  --link: #2463b8; }
@media (prefers-color-scheme: dark) { :host, :root { --ink: #e4e9ee; --soft: #97a3b0;
  --card: #1d242c; --line: #343d48; --code: #262f39; --link: #7fb2f5; } }
"""

CARD = (
    _VARIABLES
    + """
:host { background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  box-sizing: border-box; color: var(--ink); padding: 6px 10px; }
"""
)

TEXT = (
    _VARIABLES
    + """
:host { color: var(--ink); font: 13px/1.45 system-ui, "Segoe UI", Helvetica, Arial, sans-serif; }
.bk-clearfix { width: 100%; }
a { color: var(--link); text-decoration: none; } a:hover { text-decoration: underline; }
h2 { font-size: 13px; font-weight: 600; margin: 0 0 6px; }
h2 small, .soft { color: var(--soft); font-weight: 400; }
code, pre { background: var(--code); border-radius: 4px; font: 12px/1.45 ui-monospace,
  "DejaVu Sans Mono", Menlo, monospace; overflow-wrap: anywhere; }
code { padding: 1px 4px; } pre { margin: 4px 0; max-height: 260px; overflow: auto; padding: 8px;
  white-space: pre-wrap; }
.head { align-items: baseline; display: flex; flex-wrap: wrap; gap: 4px 14px; }
.head b { font-size: 18px; overflow-wrap: anywhere; } .head .grow { flex: 1; }
.pill { border-radius: 9px; color: #fff; font-size: 11px; font-weight: 600; letter-spacing: .02em;
  padding: 1px 9px; white-space: nowrap; }
.bar { background: var(--line); border-radius: 4px; display: flex; gap: 1px; height: 9px;
  margin: 8px 0 10px; overflow: hidden; } .bar i { display: block; min-width: 2px; }
.tiles { display: grid; gap: 8px; grid-template-columns: repeat(auto-fit, minmax(104px, 1fr)); }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  border-top: 3px solid var(--tone, var(--line)); padding: 5px 11px 7px; }
.tile b { display: block; font-size: 21px; font-variant-numeric: tabular-nums; font-weight: 600;
  line-height: 1.25; white-space: nowrap; } .tile span { color: var(--soft); font-size: 12px; }
table { border-collapse: collapse; width: 100%; } td, th { border-bottom: 1px solid var(--line);
  font-variant-numeric: tabular-nums; padding: 3px 8px 3px 0; text-align: left;
  vertical-align: top; }
th { color: var(--soft); font-size: 12px; font-weight: 500; white-space: nowrap; }
td.n, th.n { text-align: right; white-space: nowrap; } tr:last-child td { border-bottom: 0; }
td.w { overflow-wrap: anywhere; } td.k { color: var(--soft); white-space: nowrap; width: 1%; }
td, code, b, .soft { unicode-bidi: isolate; } .scroll { max-height: 300px; overflow: auto; }
.dot { border-radius: 50%; display: inline-block; height: 9px; margin-right: 5px; width: 9px; }
.key { display: flex; flex-wrap: wrap; gap: 2px 12px; } .key span { white-space: nowrap; }
"""
)

PANEL = CARD + TEXT.replace(_VARIABLES, "")

SELECT = (
    _VARIABLES
    + """
.bk-input { background-color: var(--card) !important; border-color: var(--line) !important;
  border-radius: 6px; color: var(--ink) !important; }
"""
)

PAGE = (
    _VARIABLES
    + """
@media (prefers-color-scheme: dark) { html { background: #12171d !important; color-scheme: dark; }
  body { color: var(--ink); }
  .navbar ul, .dropdown-content { background-color: #1d242c !important; }
  .navbar li a { color: #e4e9ee !important; }
  #dask-logo img { filter: brightness(1.15); } .jupyter-link img { filter: invert(.85); } }
.content { height: auto !important; }
"""
)


def show_count(number: int) -> str:
    """Return a number with its thousands told apart."""
    return f"{number:,}".replace(",", "\u202f")


def show_bytes(size: float) -> str:
    """Return a size in the unit that fits."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 99.5 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def show_seconds(seconds: float) -> str:
    """Return a time in the unit that fits."""
    if not seconds:
        return "0 s"
    if seconds < 0.9995e-3:
        return f"{seconds * 1e6:.0f} \u00b5s"
    if seconds < 0.9995:
        return f"{seconds * 1e3:.3g} ms" if seconds < 0.1 else f"{seconds * 1e3:.0f} ms"
    if seconds < 99.5:
        return f"{seconds:.1f} s"
    if seconds < 5997:
        return f"{seconds / 60:.1f} min"
    hours = seconds / 3600
    return f"{hours:.1f} h" if hours < 99.95 else f"{show_count(round(hours))} h"
