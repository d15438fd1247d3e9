"""The page as people use it: in a browser, which reports all that it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sample_ops
from services.browsers import chromium

from invariant_dask import Graph, MemoryStore, compile


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def page_of(browser: Any, tmp_path: Path) -> Iterator[Any]:
    said: list[str] = []
    pages = []

    def opened(graph: Graph, theme: str = "light") -> Any:
        compile(graph, store=MemoryStore()).visualize(tmp_path / "x.html")
        page = browser.new_page(color_scheme=theme, viewport={"width": 1000, "height": 600})
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        address = (tmp_path / "x.html").as_uri()
        page.on("request", lambda each: each.url == address or said.append(each.url))
        pages.append(page)
        page.goto(address)
        return page

    yield opened
    for page in pages:
        page.close()
    assert said == []  # nothing was refused, nothing failed, nothing was fetched


def lanes() -> Graph:
    g = Graph("lanes")
    for lane in range(40):
        src = g.add(f"src {lane}", sample_ops.source, seed=lane)
        g.add(f"sum {lane}", sample_ops.total, values=src)
    g.add("a <img src=x onerror=document.title='hacked'>", sample_ops.double, value=1)
    return g


def test_what_is_looked_for_is_shown_and_found_by_id_op_and_state(page_of) -> None:
    page = page_of(lanes())
    for text, count in (("src 17", 1), ("t:total", 40), ("to run", 81), ("nothing so", 0)):
        page.fill("#search", text)
        assert page.text_content("#found") == f"{count} found"
        assert page.locator(".node.on").count() == count
    page.fill("#search", "sum 33")
    page.press("#search", "Enter")
    box = page.locator(".node.on").bounding_box()
    assert 0 < box["x"] < 1000
    assert 0 < box["y"] < 600
    page.press("#search", "Escape")
    assert page.locator(".chosen").count() == 0


def test_a_click_shows_what_a_node_depends_on_and_leads_to(page_of) -> None:
    page = page_of(lanes())
    page.locator(".node", has_text="sum 3").first.click()
    assert page.locator(".node.on").count() == 2
    assert page.locator(".edge.on").count() == 1


def test_a_node_tells_all_about_itself_when_it_is_pointed_at(page_of) -> None:
    page = page_of(lanes())
    assert not page.is_visible("#tip")
    page.locator(".node", has_text="<img").hover()
    lines = page.text_content("#tip").splitlines()
    assert lines[:3] == ["a <img src=x onerror=document.title='hacked'>", "t:double", "to run"]
    assert page.title() == "lanes"
    assert page.locator("img").count() == 0


def test_the_wheel_zooms_where_it_is_and_a_drag_moves(page_of) -> None:
    page = page_of(lanes())

    def where() -> dict[str, float]:
        return page.locator(".node").first.bounding_box()

    before = where()
    page.mouse.move(before["x"], before["y"])
    page.mouse.wheel(0, -300)
    width = "document.querySelector('.node').getBoundingClientRect().width"
    page.wait_for_function(f"{width} > 1.5 * {before['width']}")
    near = where()
    assert abs(near["x"] - before["x"]) < 3
    page.mouse.move(500, 550)
    page.mouse.down()
    page.mouse.move(600, 500, steps=3)
    page.mouse.up()
    assert abs(where()["x"] - near["x"] - 100) < 2
    assert abs(where()["y"] - near["y"] + 50) < 2
    page.click("#fit")
    assert where()["width"] < near["width"]


def test_it_is_dark_where_the_reader_wants_it_dark(page_of) -> None:
    def colours(theme: str) -> list[str]:
        page = page_of(lanes(), theme)
        shape = page.locator(".node .shape").first
        body = page.locator("body")
        return [
            shape.evaluate("each => getComputedStyle(each).fill"),
            body.evaluate("each => getComputedStyle(each).backgroundColor"),
        ]

    light, dark = colours("light"), colours("dark")
    assert light == ["rgb(253, 234, 196)", "rgb(255, 255, 255)"]
    assert dark == ["rgb(74, 58, 23)", "rgb(20, 23, 27)"]
