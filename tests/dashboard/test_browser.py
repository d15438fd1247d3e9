"""The page as people see it: in a browser, while a run goes on, with both kinds of clusters."""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from dashboard.stories import RUN, diamond, message, planned, ran
from sample_ops import needs_file, total
from services.processes import end, free_port, launch, running

from invariant_dask import DashboardPlugin, Graph, compile
from invariant_dask.ledger.events import OpLogged, RunStarted, StoreHit
from invariant_dask.runtime.outbox import TOPIC

ROOT = Path(__file__).parents[2]


def open_page(page: Any) -> None:
    """Follow the link in Dask's bar, and wait until the page is drawn."""
    page.get_by_role("link", name="Invariant", exact=True).click()
    page.wait_for_url(re.compile(r"/invariant$"))
    page.wait_for_function("() => window.Bokeh && Bokeh.documents.some(each => each.is_idle)")


def tile(page: Any, name: str) -> Any:
    """Return the number above a name."""
    return page.locator(".tile").filter(has_text=re.compile(rf"\d{name}$")).locator("b").first


def wait_for(page: Any, name: str, number: int) -> None:
    from playwright.sync_api import expect

    expect(tile(page, name)).to_have_text(str(number), timeout=60_000)


def op_row(page: Any, op: str) -> list[str]:
    """Return what the table of ops shows of one: nodes, running, ran, reused, failed."""
    row = page.get_by_role("row").filter(has=page.get_by_role("cell", name=op, exact=True))
    return row.first.locator("td").all_inner_texts()[1:6]  # type: ignore[no-any-return]


def spots(page: Any) -> dict[str, str]:
    """Return the colours in the picture of the graph by name."""
    return page.evaluate(  # type: ignore[no-any-return]
        """() => {
            const data = Bokeh.documents[0].get_model_by_name("invariant-graph").data
            return Object.fromEntries(Array.from(data.name, (name, n) => [name, data.color[n]]))
        }"""
    )


@contextmanager
def gate(path: Path) -> Iterator[threading.Event]:
    """A pipe that whoever reads it waits at until the event is set; nobody waits at it for ever."""
    os.mkfifo(path)
    opened = threading.Event()

    def let_through() -> None:
        opened.wait()
        path.write_text("through")

    thread = threading.Thread(target=let_through)
    thread.start()
    try:
        yield opened
    finally:
        opened.set()
        # Whoever failed to come is replaced, so that the thread ends.
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        thread.join()
        os.close(reader)


def gated(path: Path) -> Graph:
    g = Graph("gated")
    first = g.add("first", total, values=[1, 2])
    g.add("waits", needs_file, path=str(path))
    g.add("last", total, values=[first, first])
    return g


def watch_a_run(client: Any, show: Any, status: str, tmp_path: Path, shot: Path) -> None:
    """Look at a page from before a run until it is over, and see its numbers change."""
    page = show(status)
    open_page(page)
    path = tmp_path / "gate"
    results: list[Any] = []
    collection = compile(gated(path), ["waits", "last"], store=tmp_path / "store")

    def compute() -> None:
        results.append(collection.compute(scheduler=client))

    with gate(path) as opened:
        thread = threading.Thread(target=compute)
        thread.start()
        wait_for(page, "ran", 2)
        wait_for(page, "running", 1)
        assert op_row(page, "t:needs-file") == ["1", "1", "0", "0", "0"]
        assert op_row(page, "t:total") == ["2", "0", "2", "0", "0"]
        page.screenshot(path=shot.with_name(f"{shot.name}-running.png"), full_page=True)
        opened.set()
        wait_for(page, "ran", 3)
        wait_for(page, "running", 0)
        thread.join()
    assert results == [{"waits": "through", "last": 6}]
    page.get_by_text("finished", exact=True).wait_for()
    assert op_row(page, "t:needs-file") == ["1", "0", "1", "0", "0"]
    assert set(spots(page)) == {"first", "waits", "last"}
    assert len(set(spots(page).values())) == 1
    collection.compute(scheduler=client)
    page.screenshot(path=shot.with_name(f"{shot.name}-finished.png"), full_page=True)


@pytest.mark.usefixtures("_call_log")
def test_page_of_a_local_cluster_follows_a_run(shown, shots, tmp_path) -> None:
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0",
            local_directory=str(tmp_path / "workers"),
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):  # fmt: skip
        client.register_plugin(DashboardPlugin())
        watch_a_run(client, shown, cluster.dashboard_link, tmp_path, shots / "local")


@contextmanager
def command_line_cluster(folder: Path, *options: str) -> Iterator[tuple[Any, str]]:
    """A scheduler and a worker started as people start them; yields a client and an address."""
    from distributed import Client

    port, dashboard = free_port(), free_port()
    dask = [sys.executable, "-m", "dask"]
    path = os.pathsep.join(map(str, [ROOT, ROOT / "tests"]))
    os.environ["PYTHONPATH"], before = path, os.environ.get("PYTHONPATH")
    command = [
        *dask, "scheduler", "--host", "127.0.0.1", "--port", port, "--preload", "invariant_dask",
        "--dashboard-address", f"127.0.0.1:{dashboard}", *options,
    ]  # fmt: skip
    worker = None
    try:
        with running(command, dashboard, folder / "scheduler.log") as url:
            worker = launch(
                [*dask, "worker", f"tcp://127.0.0.1:{port}", "--nworkers", "1", "--nthreads", "2",
                 "--local-directory", folder / "worker", "--no-dashboard"],
                folder / "worker.log",
            )  # fmt: skip
            with Client(f"tcp://127.0.0.1:{port}", set_as_default=False) as client:
                client.wait_for_workers(1, timeout=120)
                yield client, url
    finally:
        if worker is not None:
            end(worker)
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def test_page_of_a_scheduler_started_by_command_line_follows_a_run(shown, shots, tmp_path) -> None:
    with command_line_cluster(tmp_path) as (client, url):
        with urllib.request.urlopen(f"{url}/invariant/api") as answer:
            assert json.load(answer)["runs"] == []  # before any client brought anything
        watch_a_run(client, shown, f"{url}/status", tmp_path, shots / "command-line")


def test_page_is_there_under_a_prefix_too(shown, tmp_path) -> None:
    with command_line_cluster(tmp_path, "--dashboard-prefix", "/some/where") as (client, url):
        client.log_event(TOPIC, message(diamond()))
        page = shown(f"{url}/some/where/status")
        open_page(page)
        assert page.url == f"{url}/some/where/invariant"
        wait_for(page, "ran", 1)
        page.get_by_role("link", name="right", exact=True).first.click()
        page.get_by_role("heading", name="right photo:blur").wait_for()
        page.get_by_role("link", name="as JSON").click()
        assert page.url.startswith(f"{url}/some/where/invariant/api/node?")
        assert "ValueError: no pixels" in page.content()
        page.go_back()
        page.get_by_role("link", name="Invariant", exact=True).click()
        page.wait_for_url(re.compile(r"/some/where/invariant$"))


@pytest.fixture
def told(local_client: Any) -> tuple[Any, str]:
    local_client.register_plugin(DashboardPlugin())
    port = local_client.scheduler_info()["services"]["dashboard"]
    return local_client, f"http://127.0.0.1:{port}/status"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_page_has_the_colours_of_the_browser(told, shown, shots, theme) -> None:
    client, url = told
    client.log_event(TOPIC, message(diamond()))
    page = shown(url, theme)
    open_page(page)
    wait_for(page, "failed", 1)
    ground = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    brightness = sum(map(int, re.findall(r"\d+", ground)[:3])) / 3
    assert brightness > 200 if theme == "light" else brightness < 60
    page.screenshot(path=shots / f"page-{theme}.png", full_page=True)


def test_click_on_a_node_shows_its_digests_and_leads_to_its_page(told, shown, shots) -> None:
    client, url = told
    client.log_event(TOPIC, message(diamond()))
    page = shown(url)
    open_page(page)
    wait_for(page, "failed", 1)
    # As a click does, wherever the spot lies on the screen.
    page.evaluate(
        """() => {
            const graph = Bokeh.documents[0].get_model_by_name("invariant-graph")
            graph.selected.indices = [Array.from(graph.data.name).indexOf("right")]
        }"""
    )
    page.get_by_text("planned digest").wait_for()
    page.screenshot(path=shots / "page-node-chosen.png", full_page=True)
    page.get_by_role("link", name="right", exact=True).first.click()
    page.get_by_text("Traceback (most recent call last)").wait_for()
    page.screenshot(path=shots / "node.png", full_page=True)


def test_page_follows_the_latest_run_or_the_one_that_was_chosen(told, shown) -> None:
    client, url = told
    client.log_event(TOPIC, message(diamond("one" * 8)))
    page = shown(url)
    open_page(page)
    wait_for(page, "failed", 1)
    client.log_event(TOPIC, message([RunStarted(time=1, run="two" * 8, graph="second")]))
    client.log_event(TOPIC, message(ran("a", "op", "two" * 8)))
    page.get_by_text("second", exact=True).wait_for()
    wait_for(page, "failed", 0)
    assert list(spots(page)) == ["a"]
    page.locator("select").select_option("poster oneoneon failed")
    wait_for(page, "failed", 1)
    assert set(spots(page)) == {"src", "left", "right", "end"}


HOSTILE = (
    '</style></script><script>window.pwned=1</script><img src=x onerror="window.pwned=1">\'&'
    "{{7*7}} $$\\href{javascript:window.pwned=1}{x}$$ \u202e\U0001f9e8"
)


def test_nothing_that_is_told_runs_in_the_browser(told, shown, shots) -> None:
    client, url = told
    long = HOSTILE + "x" * 1_000_000
    about = {"time": 1, "run": RUN, "node": HOSTILE, "digest": HOSTILE}
    client.log_event(
        TOPIC,
        message(
            [
                RunStarted(time=1, run=RUN, graph=HOSTILE, store=HOSTILE, outputs=(HOSTILE,)),
                planned(HOSTILE, HOSTILE, [long], reason=HOSTILE, causes=(HOSTILE, long)),
                planned(long, long, reason=long),
                *ran(HOSTILE, HOSTILE, worker=f"tcp://{HOSTILE}"),
                *ran(long, long, worker=f"tcp://{long}"),
                StoreHit(**about, tier=HOSTILE),
                OpLogged(**about, level=HOSTILE, logger=HOSTILE, text=HOSTILE),
            ]
        ),
    )
    page = shown(url)
    open_page(page)
    wait_for(page, "ran", 2)
    page.evaluate(
        """() => { for (const name of ["invariant-graph", "invariant-timeline"])
            Bokeh.documents[0].get_model_by_name(name).selected.indices = [0] }"""
    )
    page.get_by_text("planned digest").wait_for()
    # Bars and spots show what they are when the mouse is on them.
    for plot in page.locator("canvas").all()[:6]:
        plot.hover(force=True)
    page.screenshot(path=shots / "page-hostile.png", full_page=True)
    assert page.evaluate("window.pwned") is None
    # Dask's own bar has links to nowhere.
    forged = "img[src=x], .content [href^='javascript:'], mjx-container"
    assert page.locator(forged).count() == 0
    assert page.locator(".head b").inner_text().startswith("</style></script><script>")
    page.locator("a[href*='invariant/node']").first.click()
    page.get_by_text("planned digest").wait_for()
    assert page.evaluate("window.pwned") is None
    assert page.locator("script, img").count() == 0


def test_closed_browser_leaves_the_scheduler_alone(told, shown) -> None:
    client, url = told
    page = shown(url)
    open_page(page)
    page.close()
    client.log_event(TOPIC, message(diamond()))
    assert client.submit(sum, [1, 2]).result() == 3
