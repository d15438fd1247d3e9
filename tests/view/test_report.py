"""The report of a run: complete, escaped, bounded, the same for equal states."""

from __future__ import annotations

import random
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from view.happenings import HOSTILE, MS, START, failed_run, large_run

from invariant_dask import Graph, MemoryStore, compile, op
from invariant_dask.errors import OpError
from invariant_dask.ledger.events import Event
from invariant_dask.ledger.folding import RunState, fold
from invariant_dask.view.bars import bars_of, rows_of
from invariant_dask.view.reasons import causes_of
from invariant_dask.view.report import report_page


@op("report:scale", version="1")
def scale(x: int, by: int) -> int:
    return x * by


@op("report:broken", version="1")
def broken(x: int) -> int:
    raise RuntimeError(f"no luck with {x} <b>")


def chain(by: int = 2) -> Graph:
    graph = Graph("chain")
    first = graph.add("first", "report:scale", x=1, by=by)
    second = graph.add("second", "report:scale", x=first, by=3)
    graph.add("third", "report:scale", x=second, by=5)
    return graph


class Seen(HTMLParser):
    """The tags, attributes and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return "".join(self.texts)


def counted(page: str) -> dict[str, int]:
    found = re.findall(r'data-state="([^"]+)" data-count="(\d+)"', page)
    return {state: int(count) for state, count in found}


def some(counts: dict[str, int]) -> dict[str, int]:
    return {state: count for state, count in counts.items() if count}


def test_a_report_tells_what_was_asked_planned_and_done() -> None:
    store = MemoryStore()
    compile(chain(), store=store).run(scheduler="sync")
    graph = chain(by=7)
    run = compile(graph, store=store).run(scheduler="sync")
    text = Seen(run.report().html).text
    assert "parameter by: 2 -> 7" in text
    assert "1 node, and 2 more that followed" in text
    for told in ("chain", "report:scale", "first", "third", "memory:", "python", "dask"):
        assert told in text
    assert compile(graph, store=store).digests["third"] in text
    assert run.state.nodes["third"].artifact in text


@pytest.mark.parametrize("events", [failed_run(), list(large_run(300, 3, "line"))])
def test_counts_are_those_of_the_state(events: list[Event]) -> None:
    state = fold(events)
    assert some(counted(report_page(state, events))) == some(state.counts())


def test_a_failed_run_shows_the_failure_its_traceback_and_what_was_skipped() -> None:
    graph = Graph("sad")
    graph.add("after", "report:scale", x=graph.add("bad", "report:broken", x=4), by=2)
    events: list[Event] = []
    with pytest.raises(OpError):
        compile(graph, store=MemoryStore()).run(scheduler="sync", observe=events.append)
    text = Seen(report_page(fold(events))).text
    assert "RuntimeError: no luck with 4 <b>" in text
    assert "Traceback (most recent call last)" in text
    assert "in broken" in text
    assert "1 node: after" in text


def test_hostile_texts_stay_texts() -> None:
    harmless, hostile = (
        Seen(report_page(fold(failed_run(told)), failed_run(told))) for told in ("no luck", HOSTILE)
    )
    assert hostile.tags == harmless.tags
    assert [name for name, _ in hostile.attributes] == [name for name, _ in harmless.attributes]
    assert "document.title='owned'" in hostile.text
    assert "\x1b" not in hostile.text
    assert "\u202e" not in hostile.text


@pytest.mark.parametrize("told", ["boom", HOSTILE])
def test_a_page_refers_to_nothing_outside_and_has_no_script(told: str) -> None:
    page = report_page(fold(failed_run(told)), failed_run(told))
    seen = Seen(page)
    assert not {"script", "link", "iframe", "object", "img", "base", "form"} & set(seen.tags)
    links = [value for name, value in seen.attributes if name in {"href", "src", "action"}]
    assert links
    assert all(link is not None and link.startswith("#") for link in links)
    assert not [name for name, _ in seen.attributes if name.startswith("on") or name == "style"]
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_equal_states_give_equal_pages_in_any_order_of_arrival() -> None:
    events = failed_run()
    page = report_page(fold(events))
    later = events[3:]
    random.Random(5).shuffle(later)
    assert report_page(fold([*events[:3], *later])) == page


def test_a_state_that_knows_nothing_has_a_page() -> None:
    assert "0" in Seen(report_page(RunState())).text


def test_the_size_of_a_page_is_bounded_and_what_is_left_out_is_said() -> None:
    text = "<long line>\n" * 1000
    sizes = []
    for count in (2_000, 30_000):
        events = list(large_run(count, 80, text))
        page = report_page(fold(events), events)
        sizes.append(len(page))
        seen = Seen(page).text
        assert "left out" in seen
        assert "too many to draw each" in seen
        assert "57 more workers" in seen
    assert max(sizes) < 2_000_000
    assert sizes[1] < 1.3 * sizes[0]


def test_attempts_are_bars_of_their_own_if_events_are_there() -> None:
    events = failed_run()
    bars = [bar for bar in bars_of(fold(events), events) if bar.node == "made"]
    times = [((bar.start - START) // MS, (bar.end - START) // MS, bar.how) for bar in bars]
    assert times == [(10, 15, "again"), (20, 40, "ran")]


def test_bars_in_a_lane_do_not_overlap_and_none_is_lost() -> None:
    bars = bars_of(fold(large_run(500, 7, "")))
    rows = rows_of(bars)
    for row in rows:
        for lane in row.lanes:
            assert all(a.end <= b.start for a, b in pairwise(lane))
    assert sum(1 for row in rows for _ in row.bars) == len(bars) == 500


def test_rare_causes_are_counted_together_and_every_node_once() -> None:
    causes, followed = causes_of(fold(large_run(3000, 7, "")))
    assert causes[-1].words == ()
    assert sum(len(cause.nodes) for cause in causes) + followed == 3000


def test_a_report_is_saved_whole_and_shown_in_a_frame_that_runs_nothing(tmp_path: Path) -> None:
    run = compile(chain(), store=MemoryStore()).run(scheduler="sync")
    report = run.report()
    path = report.save(tmp_path / "report.html")
    assert path.read_text(encoding="utf-8") == report.html
    assert list(tmp_path.iterdir()) == [path]
    frame = Seen(report._repr_html_())
    assert frame.tags == ["iframe"]
    assert ("sandbox", None) in frame.attributes
    assert dict(frame.attributes)["srcdoc"] == report.html
