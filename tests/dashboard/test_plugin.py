"""The plugin on real schedulers: its addresses, its metrics, and that it breaks nothing."""

from __future__ import annotations

import json
import logging
import os
import pickle
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dashboard.stories import BEGAN, RUN, diamond, failed, message, planned, ran
from sample_ops import double, fail, total

import invariant_dask
from invariant_dask import DashboardPlugin, Graph, MemoryStore, compile, ref
from invariant_dask.errors import OpError
from invariant_dask.runtime.outbox import TOPIC
from invariant_dask.runtime.plugins import NAME, install

ROOT = Path(__file__).parents[2]


def address(client: Any) -> str:
    return f"http://127.0.0.1:{client.scheduler_info()['services']['dashboard']}"


def get(url: str) -> tuple[int, str, Any]:
    try:
        with urllib.request.urlopen(url) as answer:
            return answer.status, answer.read().decode(), answer.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(), error.headers


def api(client: Any, path: str = "") -> Any:
    return json.loads(get(f"{address(client)}/invariant/api{path}")[1])


def tell(client: Any, *events: Any) -> None:
    client.log_event(TOPIC, message(events))


@pytest.fixture
def watched(local_client: Any) -> Any:
    local_client.register_plugin(DashboardPlugin())
    return local_client


def graph() -> Graph:
    g = Graph()
    first = g.add("first", total, values=[1, 2])
    g.add("last", double, value=first)
    return g


def test_page_is_added_to_a_scheduler_that_runs_and_is_in_the_bar_of_all_pages(watched) -> None:
    status, text, _ = get(f"{address(watched)}/invariant")
    assert status == 200
    assert "bokeh" in text
    for page in ("status", "invariant", "workers"):
        assert '<a href="invariant">Invariant</a>' in get(f"{address(watched)}/{page}")[1]


def test_second_plugin_for_a_scheduler_does_nothing(watched) -> None:
    tell(watched, *diamond())
    watched.register_plugin(DashboardPlugin())
    install(watched)
    assert get(f"{address(watched)}/status")[1].count('<a href="invariant">') == 1
    assert len(api(watched)["runs"]) == 1


def test_api_tells_of_no_run_before_there_is_one(watched) -> None:
    found = api(watched)
    assert (found["runs"], found["latest"]) == ([], None)
    assert get(f"{address(watched)}/invariant/api/run/latest")[0] == 404


def test_api_tells_of_all_runs_of_one_and_of_a_node(watched) -> None:
    tell(watched, *diamond("one"))
    tell(watched, *diamond("two"))
    found = api(watched)
    assert [run["run"] for run in found["runs"]] == ["two", "one"]
    assert found["latest"]["counts"]["ran"] == 1
    assert api(watched, "/run/one")["failures"][0]["node"] == "right"
    assert api(watched, "/run/latest")["run"] == "two"
    node = api(watched, "/node?run=one&node=left")
    assert (node["state"], node["artifact"], node["inputs"]) == ("ran", "ef" * 32, ["src"])
    assert node["reason"] == "parameter gain: 3 -> 4"
    for missing in ("/run/three", "/node?run=one&node=nobody", "/node?run=three&node=left"):
        assert get(f"{address(watched)}/invariant/api{missing}")[0] == 404


def test_node_has_a_page_with_its_digests_and_its_error(watched) -> None:
    tell(watched, *diamond())
    status, text, headers = get(f"{address(watched)}/invariant/node?run={RUN}&node=right")
    assert status == 200
    assert "ValueError: no pixels" in text
    assert "Traceback (most recent call last)" in text
    assert '<a href="node?run=latest' not in text
    assert f'<a href="node?run={RUN}&amp;node=src">src</a>' in text
    assert "invariant-dask store show" in text
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert get(f"{address(watched)}/invariant/node?run={RUN}&node=nobody")[0] == 404


HOSTILE = "</style></title><script>window.pwned=1</script>\"'&<img src=x onerror=pwned=1>"


def test_what_is_hostile_is_shown_as_text(watched) -> None:
    tell(watched, planned(HOSTILE, HOSTILE, [HOSTILE * 2], reason=HOSTILE))
    tell(watched, failed(HOSTILE, HOSTILE, HOSTILE))
    query = urllib.parse.urlencode({"run": RUN, "node": HOSTILE})
    status, text, _ = get(f"{address(watched)}/invariant/node?{query}")
    assert status == 200
    assert "&lt;script&gt;" in text
    assert "<script" not in text
    assert "<img" not in text
    assert api(watched, f"/node?{query}")["error"] == HOSTILE
    status, text, headers = get(f"{address(watched)}/invariant/api")
    assert headers["Content-Type"].startswith("application/json")
    assert headers["X-Content-Type-Options"] == "nosniff"
    missing = urllib.parse.urlencode({"run": HOSTILE, "node": HOSTILE})
    assert "<script" not in get(f"{address(watched)}/invariant/node?{missing}")[1]


@pytest.mark.parametrize("path", ["../../../etc/passwd", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "x"])
def test_addresses_lead_to_no_files(watched, path) -> None:
    for before in ("invariant/", "invariant/api/run/", "invariant/node/"):
        assert get(f"{address(watched)}/{before}{path}")[0] == 404


def metrics(client: Any) -> dict[str, float]:
    lines = get(f"{address(client)}/metrics")[1].splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if line.startswith("dask_invariant"))
    return {name: float(value) for name, value in pairs if "_created" not in name}


def test_metrics_are_in_those_of_the_scheduler(watched) -> None:
    get(f"{address(watched)}/metrics")
    tell(watched, *diamond())
    found = metrics(watched)
    assert found['dask_invariant_nodes_total{op="photo:tone",outcome="ran"}'] == 1
    assert found['dask_invariant_nodes_total{op="photo:blur",outcome="failed"}'] == 1
    assert found['dask_invariant_nodes_total{op="io:load",outcome="reused"}'] == 1
    assert found['dask_invariant_saved_seconds_total{op="io:load"}'] == 2
    assert found['dask_invariant_op_seconds_bucket{le="0.3",op="photo:tone"}'] == 0
    assert found['dask_invariant_op_seconds_bucket{le="1.0",op="photo:tone"}'] == 1
    assert found['dask_invariant_op_seconds_count{op="photo:tone"}'] == 1
    tier = "file:///data/.invariant"
    assert found[f'dask_invariant_store_hits_total{{by="planned",tier="{tier}"}}'] == 1
    assert found[f'dask_invariant_store_puts_total{{tier="{tier}"}}'] == 1
    assert found[f'dask_invariant_store_seconds_sum{{request="put",tier="{tier}"}}'] == 0.002
    assert found['dask_invariant_runs_total{state="failed"}'] == 1
    assert found["dask_invariant_runs_active"] == 0


def test_names_in_metrics_cannot_add_lines(watched) -> None:
    tell(watched, *ran("a", 'op"} 1\ndask_invariant_forged 7\n'))
    assert "\ndask_invariant_forged" not in get(f"{address(watched)}/metrics")[1]


def test_two_clusters_of_one_process_tell_of_their_own_runs() -> None:
    from distributed import Client

    options = {"processes": False, "n_workers": 1, "set_as_default": False}
    with (
        Client(dashboard_address=":0", **options) as one,
        Client(dashboard_address=":0", **options) as two,
    ):
        one.register_plugin(DashboardPlugin())
        assert "dask_invariant_nodes_total" not in str(metrics(one))
        two.register_plugin(DashboardPlugin())
        tell(one, *diamond("one"))
        tell(two, *diamond("two"))
        tell(two, *diamond("more"))
        assert [run["run"] for run in api(one)["runs"]] == ["one"]
        assert [run["run"] for run in api(two)["runs"]] == ["more", "two"]
        name = 'dask_invariant_nodes_total{op="photo:tone",outcome="ran"}'
        assert (metrics(one)[name], metrics(two)[name], metrics(one)[name]) == (1, 2, 1)


def test_run_on_a_cluster_is_on_its_page_without_being_asked(client, tmp_path) -> None:
    store = tmp_path / "store"
    first = compile(graph(), store=store).run(scheduler=client)
    found = api(client, f"/run/{first.id}")
    assert found["state"] == "finished"
    assert {state: count for state, count in found["counts"].items() if count} == {"ran": 2}
    assert {row["op"]: row["ran"] for row in found["ops"]} == {"t:total": 1, "t:double": 1}
    g = graph()
    g.add("wrong", fail, value=ref("last"))
    with pytest.raises(OpError):
        compile(g, store=store).run(scheduler=client)
    found = api(client)["latest"]
    assert found["state"] == "failed"
    assert found["counts"]["reused"] == 1
    assert found["failures"][0]["error"] == "ValueError: no"
    node = api(client, f"/node?run={found['run']}&node=wrong")
    assert "in fail" in node["traceback"]


def test_install_asks_a_scheduler_once_and_never_raises(caplog) -> None:
    class Refusing:
        asynchronous = False
        scheduler = None
        asked = 0

        def register_plugin(self, plugin: object) -> None:
            self.asked += 1
            raise ModuleNotFoundError("No module named 'invariant_dask'")

    client = Refusing()
    with caplog.at_level(logging.INFO, "invariant_dask"):
        install(client)
        install(client)
    assert client.asked == 1
    assert "No module named" in caplog.text


def test_page_that_cannot_be_added_leaves_the_scheduler_and_its_runs_alone(
    local_client, monkeypatch, caplog
) -> None:
    def broken(*_args: object) -> None:
        raise RuntimeError("bokeh has changed")

    monkeypatch.setattr("invariant_dask.runtime.plugins._add_pages", broken)
    assert compile(graph(), store=MemoryStore()).compute(scheduler=local_client) == 6
    assert "no page of invariant-dask" in caplog.text
    found = local_client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.plugins))
    assert NAME in found


def test_plugin_travels_in_few_bytes_and_names_the_public_class() -> None:
    assert len(pickle.dumps(DashboardPlugin())) < 200
    assert invariant_dask.DashboardPlugin.name == "invariant-dask"


WITHOUT = """
import json, sys, urllib.request
for name in sys.argv[1:]:
    sys.modules[name] = None
from distributed import Client
from dashboard.stories import diamond, message
from invariant_dask import DashboardPlugin
if __name__ == "__main__":
    with Client(processes=False, n_workers=1, dashboard_address=":0") as client:
        client.register_plugin(DashboardPlugin())
        client.log_event("invariant-dask", message(diamond()))
        base = f"http://127.0.0.1:{client.scheduler_info()['services']['dashboard']}"
        found = json.load(urllib.request.urlopen(base + "/invariant/api"))
        print(found["latest"]["counts"]["ran"])
"""


@pytest.mark.parametrize(
    "missing", [["bokeh"], ["prometheus_client"], ["bokeh", "prometheus_client"]]
)
def test_api_works_without(missing) -> None:
    path = os.pathsep.join(map(str, [ROOT, ROOT / "tests"]))
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, *missing], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert done.stdout == "1\n", done.stderr
    assert "invariant-dask" not in done.stderr


def test_importing_the_package_brings_neither_dask_nor_bokeh() -> None:
    code = (
        "import sys, invariant_dask; print([n for n in ('dask', 'bokeh', 'distributed', 'tornado')"
        " if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout == "[]\n"


def test_events_that_came_before_the_page_was_open_are_on_it(watched) -> None:
    from bokeh.client import pull_session

    tell(watched, *diamond())
    with pull_session(url=f"{address(watched)}/invariant") as session:
        named = session.document.get_model_by_name
        assert named("invariant-graph").data["name"] == ["src", "left", "right", "end"]
        assert "photo:blur" in named("invariant-ops").text
        assert "poster" in named("invariant-heading").text
        assert list(named("invariant-timeline").data["node"]) == ["left", "right"]


def test_clock_that_is_wrong_on_a_worker_does_not_stop_the_page(watched) -> None:
    from bokeh.client import pull_session

    tell(watched, *ran("a", "op", start=0, took=5), *ran("b", "op", start=BEGAN * 2))
    with pull_session(url=f"{address(watched)}/invariant") as session:
        assert len(session.document.get_model_by_name("invariant-timeline").data["node"]) == 2


@pytest.fixture
def _no_stray_logs(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert not [line for line in caplog.records if line.levelno >= logging.ERROR]
