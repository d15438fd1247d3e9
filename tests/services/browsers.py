"""Chromium, without a screen."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from typing import Any

from services.processes import not_installed

_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
    "--no-first-run", "--disable-extensions",
]  # fmt: skip


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """Run a browser; as long as it is open, this thread seems to run an event loop."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        not_installed("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        not_installed("playwright")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, headless=True, args=_FLAGS)
        with contextlib.closing(opened):
            yield opened
