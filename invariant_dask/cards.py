"""How an object is shown: in a notebook as HTML, and by `rich` on a terminal.

All text on a card may be anybody's: it is escaped, and what is not printable is spelt out. `rich`
itself is not needed: it brings the console that lines are made with.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

MOST_ROWS = 50
LONGEST = 160
"""How many characters of a text are shown."""

_FAINT = "opacity:.65"
_CELL = "text-align:left;vertical-align:top;padding:2px 14px 2px 0"


class Console(Protocol):
    """What is used of the console of `rich`."""

    def render_str(self, text: str, **options: Any) -> Any: ...


@dataclass(frozen=True, slots=True)
class Card:
    """What is shown of an object.

    Attributes
    ----------
    title
        One line.
    facts
        Names, each with what it is; those that are nothing are left out.
    columns, rows
        A table; the first rows of it are shown.
    notes
        Lines below it.
    """

    title: str
    facts: Sequence[tuple[str, str]] = ()
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    notes: Sequence[str] = ()

    @property
    def below(self) -> Iterator[str]:
        """The notes, and how many rows are left out."""
        if len(self.rows) > MOST_ROWS:
            yield f"... and {len(self.rows) - MOST_ROWS:,} more"
        yield from self.notes

    def html(self) -> str:
        """Return it as HTML."""
        parts = [f"<p><b>{_markup(self.title)}</b></p>"]
        facts = "".join(
            f'<tr><td style="{_CELL};{_FAINT}">{_markup(name)}</td>'
            f'<td style="{_CELL}">{_markup(told)}</td></tr>'
            for name, told in self.facts
            if told
        )
        if facts:
            parts.append(f"<table><tbody>{facts}</tbody></table>")
        if self.rows:
            head = "".join(f'<th style="{_CELL}">{_markup(name)}</th>' for name in self.columns)
            rows = "".join(
                "<tr>"
                + "".join(f'<td style="{_CELL}">{_markup(cell)}</td>' for cell in row)
                + "</tr>"
                for row in self.rows[:MOST_ROWS]
            )
            parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>")
        parts += [f'<p style="{_FAINT}">{_markup(line)}</p>' for line in self.below]
        return f"<div>{''.join(parts)}</div>"

    def lines(self, console: Console) -> Iterator[Any]:
        """Yield what `rich` prints."""

        def styled(text: str, style: str = "") -> Any:
            return console.render_str(text, style=style, markup=False, emoji=False, highlight=False)

        yield styled(shown(self.title), "bold")
        facts = [(shown(name), shown(told)) for name, told in self.facts if told]
        width = max((len(name) for name, _ in facts), default=0)
        for name, told in facts:
            line = styled(f"  {name:{width}}  ", "dim")
            line.append(told, style="not dim")
            yield line
        table = [[shown(cell) for cell in row] for row in self.rows[:MOST_ROWS]]
        if table:
            head = [shown(name) for name in self.columns]
            widths = [max(map(len, column)) for column in zip(head, *table, strict=True)]
            for number, row in enumerate([head, *table]):
                cells = (f"{cell:{width}}" for cell, width in zip(row, widths, strict=True))
                yield styled(f"  {'  '.join(cells)}".rstrip(), "" if number else "dim")
        for line in self.below:
            yield styled(shown(line), "dim")


class Shown:
    """A mix-in for what can be shown as a card."""

    __slots__ = ()

    def _card(self) -> Card:
        raise NotImplementedError

    def _repr_html_(self) -> str:
        return self._card().html()

    def __rich_console__(self, console: Console, options: object) -> Iterator[Any]:
        return self._card().lines(console)


def shown(text: str) -> str:
    """Return text of one line that is fit to be shown, cut if it is too long."""
    cut = text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
    if cut.isprintable():
        return cut
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in cut)


def _markup(text: str) -> str:
    return html.escape(shown(text))
