"""A browser, and clusters whose dashboards it looks at."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from services.browsers import chromium


@pytest.fixture(scope="session")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots go: `INVARIANT_TEST_SHOTS`, else the folder of this test run."""
    given = os.environ.get("INVARIANT_TEST_SHOTS")
    folder = Path(given) if given else tmp_path_factory.mktemp("shots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def browser() -> Iterator[Any]:
    """One per test: as long as it is open, this thread seems to run an event loop."""
    with chromium() as opened:
        yield opened


@pytest.fixture
def shown(browser: Any) -> Iterator[Any]:
    """Opens pages; what the browser complains of is a failure in the end."""
    complaints: list[str] = []

    def show(url: str, theme: str = "light") -> Any:
        context = browser.new_context(color_scheme=theme, viewport={"width": 1500, "height": 1000})
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda line: complaints.append(line.text) if line.type == "error" else None,
        )
        page.goto(url, wait_until="domcontentloaded")
        return page

    yield show
    assert complaints == []
