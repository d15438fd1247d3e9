"""The timeline of a run as SVG: a bar for each call, or how busy workers were if there are many."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from invariant_dask.view.amounts import count_text, seconds_text, share_text, span_text
from invariant_dask.view.bars import Bar, Row
from invariant_dask.view.text import bounded, fitted, markup

MOST_BARS = 1500
"""How many bars are drawn one by one."""

MOST_LANES = 48
"""How many lines of bars there may be, if they are drawn one by one."""

MOST_ROWS = 24
"""How many workers get a row of their own."""

OPS = 8
"""How many ops have colours of their own."""

_LEFT, _WIDTH, _RIGHT = 190.0, 880.0, 10.0
_LANE, _GAP, _ROW = 13.0, 8.0, 34.0
_STEPS = 176


class Colours:
    """Which op has which colour: those that took longest have one of their own."""

    def __init__(self, bars: Iterable[Bar]) -> None:
        spent: Counter[str] = Counter()
        for bar in bars:
            spent[bar.op] += bar.end - bar.start + 1
        ranked = sorted(spent, key=lambda op: (-spent[op], op))
        self.ops = ranked[:OPS]
        self.others = len(ranked) - len(self.ops)
        self._places = {op: place for place, op in enumerate(self.ops)}

    def place(self, op: str) -> int:
        """Return the number of the colour of an op."""
        return self._places.get(op, OPS)

    def legend(self) -> Iterator[tuple[str, str]]:
        """Yield class and words of each colour."""
        for place, op in enumerate(self.ops):
            yield f"op{place}", bounded(op, 60) or "(no op)"
        if self.others:
            yield f"op{OPS}", count_text(self.others, "other op")


def gantt(rows: Sequence[Row], colours: Colours, start: int, end: int) -> str:
    """Return what workers did between two moments as an `svg` element.

    Notes
    -----
    Up to `MOST_BARS` bars on `MOST_LANES` lines are drawn each; beyond, a row shows what part of a
    worker was at work with which op.
    """
    count = sum(len(lane) for row in rows for lane in row.lanes)
    lanes = sum(len(row.lanes) for row in rows)
    span = max(1, end - start)
    one_by_one = count <= MOST_BARS and lanes <= MOST_LANES and len(rows) <= MOST_ROWS
    draw = _bars if one_by_one else _busy
    body, height = draw(rows if one_by_one else _merged(rows), colours, start, span)
    width = _LEFT + _WIDTH + _RIGHT
    what = f"Timeline: {count_text(count, 'call')} on {count_text(len(rows), 'worker')}"
    axis = _axis(span, height)
    return (
        f'<svg class="gantt" role="img" aria-label="{what}" viewBox="0 0 {width:g} '
        f'{height + 26:g}"><title>{what}</title>{axis}{"".join(body)}</svg>'
    )


def is_aggregated(rows: Sequence[Row]) -> bool:
    """Whether there are too many bars to draw each."""
    count = sum(len(lane) for row in rows for lane in row.lanes)
    lanes = sum(len(row.lanes) for row in rows)
    return count > MOST_BARS or lanes > MOST_LANES or len(rows) > MOST_ROWS


def _label(row: Row, y: float, span: int) -> str:
    name = row.worker or "this process"
    lanes = max(1, len(row.lanes))
    told = f"busy {share_text(row.busy, span * lanes)}"
    if lanes > 1:
        told += f", up to {lanes} at once"
    return (
        f"<g><title>{markup(bounded(name))}: {told}</title>"
        f'<text x="0" y="{y:g}">{markup(fitted(name, _LEFT - 14, 11.5))}</text>'
        f'<text class="quiet" x="0" y="{y + 13:g}">{told}</text></g>'
    )


def _bars(rows: Sequence[Row], colours: Colours, start: int, span: int) -> tuple[list[str], float]:
    parts: list[str] = []
    y = 2.0
    for row in rows:
        height = max(len(row.lanes) * _LANE, 2 * _LANE)
        parts.append(_stripe(y, height))
        parts.append(_label(row, y + 11, span))
        for number, lane in enumerate(row.lanes):
            parts.extend(_bar(bar, y + number * _LANE, colours, start, span) for bar in lane)
        y += height + _GAP
    return parts, y


def _stripe(y: float, height: float) -> str:
    return f'<rect class="stripe" x="{_LEFT:g}" y="{y:g}" width="{_WIDTH:g}" height="{height:g}"/>'


def _bar(bar: Bar, y: float, colours: Colours, start: int, span: int) -> str:
    x = _LEFT + _WIDTH * (bar.start - start) / span
    width = max(1.0, _WIDTH * (bar.end - bar.start) / span - 0.4)
    x = min(x, _LEFT + _WIDTH - width)
    css = f"op{colours.place(bar.op)}" if bar.how == "ran" else f"bar-{bar.how}"
    told = [bounded(bar.node, 120), bounded(bar.op, 80), span_text(bar.end - bar.start)]
    told.append(f"from {span_text(bar.start - start)}")
    if bar.how != "ran":
        told.append("failed, and was called again" if bar.how == "again" else bar.how)
    if bar.attempt > 1:
        told.append(f"attempt {bar.attempt}")
    title = markup(", ".join(filter(None, told)))
    return (
        f'<rect class="{css}" x="{x:.1f}" y="{y + 1:g}" width="{width:.1f}" '
        f'height="{_LANE - 2:g}" rx="1.5"><title>{title}</title></rect>'
    )


def _merged(rows: Sequence[Row]) -> list[Row]:
    """Return rows of which those behind the busiest are one."""
    if len(rows) <= MOST_ROWS:
        return list(rows)
    rest = rows[MOST_ROWS - 1 :]
    lanes = tuple(lane for row in rest for lane in row.lanes)
    together = Row(count_text(len(rest), "more worker"), lanes, sum(row.busy for row in rest))
    return [*rows[: MOST_ROWS - 1], together]


def _busy(rows: Sequence[Row], colours: Colours, start: int, span: int) -> tuple[list[str], float]:
    parts: list[str] = []
    y = 2.0
    for row in rows:
        parts.append(_stripe(y, _ROW))
        parts.append(_label(row, y + 13, span))
        parts.extend(_areas(_loads(row, colours, start, span), y))
        y += _ROW + _GAP
    return parts, y


def _loads(row: Row, colours: Colours, start: int, span: int) -> Mapping[str, list[float]]:
    """Return what part of a worker was at work in each step of time, by class."""
    loads: dict[str, list[float]] = defaultdict(lambda: [0.0] * _STEPS)
    step = span / _STEPS
    share = 1 / (step * max(1, len(row.lanes)))
    for bar in row.bars:
        load = loads[f"op{colours.place(bar.op)}" if bar.how == "ran" else f"bar-{bar.how}"]
        first, last = bar.start - start, bar.end - start
        at = max(0, min(_STEPS - 1, int(first / step)))
        while at < _STEPS and at * step < last:
            load[at] += (min(last, (at + 1) * step) - max(first, at * step)) * share
            at += 1
    return loads


def _areas(loads: Mapping[str, list[float]], y: float) -> Iterator[str]:
    """Yield an area for each class, one upon the other."""
    width = _WIDTH / _STEPS
    below = [0.0] * _STEPS
    for css in sorted(loads):
        told: list[str] = []
        for at, load in enumerate(loads[css]):
            height = min(load, 1 - below[at]) * _ROW
            if height < 0.05:
                continue
            top = y + _ROW - below[at] * _ROW - height
            x = _LEFT + at * width
            told.append(f"M{x:.1f} {top:.1f}h{width:.2f}v{height:.1f}h{-width:.2f}z")
            below[at] += height / _ROW
        if told:
            yield f'<path class="{css}" d="{"".join(told)}"/>'


def _axis(span: int, height: float) -> str:
    seconds = span / 1e9
    step = _nice(seconds / 6)
    parts = []
    for number in range(int(seconds / step) + 1):
        x = _LEFT + _WIDTH * number * step / seconds
        anchor = "end" if x > _LEFT + _WIDTH - 20 else "middle"
        parts.append(
            f'<path class="grid" d="M{x:.1f} 0V{height:g}"/><text class="quiet" x="{x:.1f}" '
            f'y="{height + 14:g}" text-anchor="{anchor}">{seconds_text(number * step)}</text>'
        )
    return "".join(parts)


def _nice(seconds: float) -> float:
    """Return the round time span that is next to one, and not shorter."""
    if seconds > 86400:
        return 86400 * _nice(seconds / 86400)
    for minutes in (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440):
        if 30 < seconds <= 60 * minutes:
            return 60.0 * minutes
    power = 10.0 ** math.floor(math.log10(max(seconds, 1e-9)))
    return next(power * factor for factor in (1, 2, 5, 10) if seconds <= power * factor * 1.0001)
