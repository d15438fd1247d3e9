"""The report as people see it: in a browser, which says all that it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from services.browsers import chromium
from view.happenings import HOSTILE, failed_run, large_run

from invariant_dask.ledger.folding import fold
from invariant_dask.view.report import report_page


@pytest.fixture
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


BRIGHTNESS = """colour => colour.match(/[0-9.]+/g).slice(0, 3).map(Number)
    .reduce((sum, each) => sum + each, 0) / 765"""


def test_reports_render_in_both_themes_and_run_nothing(browser: Any, tmp_path: Path) -> None:
    hostile, many = failed_run(HOSTILE), list(large_run(2000, 5, "a line"))
    for name, events in (("hostile", hostile), ("many", many)):
        state = fold(events)
        file = tmp_path / f"{name}.html"
        file.write_text(report_page(state, events), encoding="utf-8")
        for theme, is_light in (("light", True), ("dark", False)):
            said: list[str] = []
            page = browser.new_page(color_scheme=theme, viewport={"width": 1100, "height": 800})
            page.on("console", lambda line, said=said: said.append(line.text))
            page.on("pageerror", lambda error, said=said: said.append(str(error)))
            page.on("request", lambda each, said=said: said.append(each.url))
            page.goto(file.as_uri())
            assert page.title() != "owned"
            assert said == [file.as_uri()]  # nothing was fetched, refused or run

            def brightness(kind: str, page: Any = page) -> float:
                colour = f"getComputedStyle(document.body).{kind}"
                return page.evaluate(f"({BRIGHTNESS})({colour})")

            assert (brightness("backgroundColor") > 0.5) is is_light
            assert (brightness("color") < 0.5) is is_light
            shown = page.locator(".tiles li[data-state]").evaluate_all(
                "all => Object.fromEntries(all.map(each => [each.dataset.state,"
                " Number(each.querySelector('b').textContent.replaceAll(',', ''))]))"
            )
            counts = {what: count for what, count in state.counts().items() if count}
            assert {what: count for what, count in shown.items() if count} == counts
            assert page.locator("svg.gantt").bounding_box()["width"] > 700
            inside = "document.documentElement.scrollWidth <= innerWidth"
            assert page.evaluate(inside), "wide tables move within the page, not the page itself"
            page.close()
