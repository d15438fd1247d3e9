"""What pages that we write have in common: they fetch nothing and may not, and all text is escaped.

Nothing here trusts what it is given but markup made by this package.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from invariant_dask.view.text import LONGEST, bounded, markup


class Markup(NamedTuple):
    """HTML that this package made: put in as it is."""

    html: str


Cell = str | Markup
"""What stands in a table: text of anybody's, or markup of ours."""


def page(title: str, style: str, body: str) -> str:
    """Return a whole page without scripts; its policy allows nothing but its own style.

    Parameters
    ----------
    title
        Of the page: text.
    style, body
        Of our making.
    """
    hashed = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{hashed}'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )
    return f"""<!DOCTYPE html>
<html lang="en" class="ivp">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>{text(title)}</title>
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""


def text(words: str, most: int = LONGEST) -> str:
    """Return text of anybody's as markup, cut in the middle if it is too long."""
    return markup(bounded(words, most))


def block(words: str, most: int = 20_000) -> str:
    """Return text of several lines as the content of `pre`, cut in the middle if it is too long."""
    if len(words) > most:
        left_out = len(words) - most
        half = most // 2
        words = f"{words[:half]}\n[{left_out:,} characters are left out]\n{words[-half:]}"
    return "\n".join(markup(line) for line in words.split("\n"))


def cell(content: Cell, most: int = LONGEST) -> str:
    """Return what stands in a table as markup."""
    return content.html if isinstance(content, Markup) else text(content, most)


def table(
    columns: Sequence[str], rows: Iterable[Sequence[Cell]], css: str = "", most: int = LONGEST
) -> str:
    """Return a table.

    A column whose name starts with `#` has numbers, aligned to the right; one without a name is as
    narrow as can be.
    """
    kinds = [
        ' class="n"' if name.startswith("#") else "" if name else ' class="b"' for name in columns
    ]
    head = "".join(
        f"<th{kind}>{text(name.removeprefix('#'))}</th>"
        for name, kind in zip(columns, kinds, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f"<td{kind}>{cell(each, most)}</td>" for each, kind in zip(row, kinds, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="wide"><table class="{css}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def facts(pairs: Iterable[tuple[str, Cell]]) -> str:
    """Return names with what they are, those that are nothing left out."""
    told = "".join(
        f"<dt>{text(name)}</dt><dd>{cell(each)}</dd>" for name, each in pairs if cell(each)
    )
    return f"<dl>{told}</dl>" if told else ""


def fold(summary: str, content: str, *, is_open: bool = False) -> str:
    """Return content that a reader opens.

    Parameters
    ----------
    summary
        What is seen of it while it is closed: text.
    content
        Of our making.
    is_open
        Whether it is open at first.
    """
    state = " open" if is_open else ""
    return f"<details{state}><summary>{text(summary)}</summary>{content}</details>"


def note(words: str) -> str:
    """Return a quiet remark."""
    return f'<p class="note">{text(words, 2000)}</p>'


def listed(names: Sequence[str], most: int = 12) -> str:
    """Return names as text, some of them if they are many."""
    told = ", ".join(bounded(name, 80) for name in names[:most])
    return f"{told} and {len(names) - most:,} more" if len(names) > most else told
