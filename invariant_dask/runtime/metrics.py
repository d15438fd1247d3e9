"""Numbers of a board for Prometheus, in the `/metrics` that Dask's scheduler has anyway."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from distributed.http.prometheus import PrometheusCollector
from distributed.http.scheduler.prometheus import core
from prometheus_client import REGISTRY
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from invariant_dask.runtime.board import Board


class InvariantCollector(PrometheusCollector):  # type: ignore[misc]  # Dask's has no annotations
    """Tells the numbers of the scheduler that is asked: a process may have several."""

    find: Callable[[Any], Board | None] = staticmethod(lambda _scheduler: None)
    """Returns the board of a scheduler."""

    def __init__(self, server: Any) -> None:
        super().__init__(server)
        self.subsystem = "invariant"

    def collect(self) -> Iterator[Metric]:
        board = type(self).find(self.server)
        if board is None:
            return
        yield from self._of_nodes(board)
        yield from self._of_stores(board)
        running = sum(run.state.state == "running" for run in board.runs.values())
        yield GaugeMetricFamily(self.build_name("runs_active"), "Runs that go on", value=running)
        yield self._counter("runs", "Runs by what became of them", ["state"], board.totals.runs)
        for name, text, value in (
            ("events", "Events of runs that came in", board.received),
            ("events_dropped", "Events, or messages, that nobody could read", board.dropped),
            ("attempts_failed", "Calls of ops made once more", board.totals.attempts),
        ):
            yield CounterMetricFamily(self.build_name(name), text, value=value)

    def _of_nodes(self, board: Board) -> Iterator[Metric]:
        totals = board.totals
        yield self._counter("nodes", "Nodes by op and outcome", ["op", "outcome"], totals.nodes)
        yield self._counter(
            "artifact_bytes", "Bytes of artifacts by op and outcome", ["op", "outcome"], totals.size
        )
        yield self._counter(
            "saved_seconds", "Time of ops that reuse saved", ["op"],
            {op: nanoseconds / 1e9 for op, nanoseconds in totals.saved.items()},
        )  # fmt: skip
        times = HistogramMetricFamily(
            self.build_name("op_seconds"), "How long ops took", labels=["op"]
        )
        for op, histogram in totals.times.items():
            times.add_metric([op], histogram.cumulative(), histogram.seconds)
        yield times

    def _of_stores(self, board: Board) -> Iterator[Metric]:
        totals = board.totals
        yield self._counter("store_hits", "Artifacts found", ["tier", "by"], totals.hits)
        yield self._counter("store_puts", "Artifacts stored", ["tier"], totals.puts)
        yield self._counter(
            "store_bytes", "Bytes found and stored", ["tier", "request"], totals.store_bytes
        )
        yield self._counter(
            "store_errors", "Damaged entries and failures of tiers", ["tier", "error"],
            totals.trouble,
        )  # fmt: skip
        times = HistogramMetricFamily(
            self.build_name("store_seconds"), "How long stores took", labels=["tier", "request"]
        )
        for labels, histogram in totals.store_times.items():
            times.add_metric(list(labels), histogram.cumulative(), histogram.seconds)
        yield times

    def _counter(self, name: str, text: str, labels: list[str], values: Any) -> Metric:
        family = CounterMetricFamily(self.build_name(name), text, labels=labels)
        for key, value in values.items():
            family.add_metric([key] if isinstance(key, str) else list(key), value)
        return family


def collect_from(find: Callable[[Any], Board | None]) -> None:
    """Add ours to the collectors of `/metrics` in this process, once.

    Dask makes one collector of each kind per process when somebody first asks, and points them to
    the scheduler that is asked, each time.
    """
    if InvariantCollector in core.COLLECTORS:
        return
    InvariantCollector.find = staticmethod(find)
    core.COLLECTORS.append(InvariantCollector)
    handler = core.PrometheusHandler
    if handler._collectors:  # noqa: SLF001  somebody asked before
        late = InvariantCollector(handler._collectors[0].server)  # noqa: SLF001
        handler._collectors += (late,)  # noqa: SLF001
        REGISTRY.register(late)
