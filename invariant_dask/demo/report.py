"""Run the demo: cold, warm, and with one parameter changed; say what happened and why.

Prints nothing: what to show and how is the command line's business.
"""

from __future__ import annotations

import shutil
import signal
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invariant_dask.demo.pipeline import OUTPUTS, SIDE, STRENGTH, build, photographs
from invariant_dask.errors import SpecError, StoreUnavailableError
from invariant_dask.plan.plan import Decision
from invariant_dask.session import compile as compile_graph
from invariant_dask.store.disk import DiskStore
from invariant_dask.store.opening import open_store

if TYPE_CHECKING:
    import os

    from distributed import Client

    from invariant_dask.graph.model import Graph
    from invariant_dask.session import Compiled, Progress, Run
    from invariant_dask.store.base import Store

FOLDER = Path("invariant-demo")
"""Where pictures go by default, and the store with them."""

CHANGES = tuple(Decimal(n).scaleb(-2) for n in (80, *range(85, 101, 5), *range(75, 40, -5)))
"""Strengths of the tone curve to change to; the first that is not stored yet is taken."""

MAX_WORKERS = 8

_FOLLOWS = "follows from "


@dataclass(frozen=True, slots=True)
class Cause:
    """Why nodes ran: one with causes of its own, and those that ran because it did."""

    node: str
    causes: tuple[str, ...]
    followers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Lap:
    """One of the three runs."""

    name: str
    run: Run
    seconds: float
    """From building the graph to having the results."""
    strength: Decimal
    files: tuple[Path, ...]
    """The pictures and the table, as written."""

    @property
    def counts(self) -> Mapping[str, int]:
        """How many nodes `ran`, `shared` the work of one, were `reused` and were `pruned`."""
        return self.run.counts()


class Demo:
    """The three runs, on one store.

    Parameters
    ----------
    folder
        Where pictures are written.
    store
        What `open_store` takes; by default a folder beside the pictures.
    side
        Longer side of the working copies, in pixels.
    fresh
        Start with an empty store. Takes the default store only: others are not ours to empty.
    photos
        Image files by name; by default those of scikit-image.

    Raises
    ------
    MissingExtraError
        If scikit-image or Pillow is not installed.
    SpecError
        If `side` is out of range, or `fresh` is asked of a store of somebody else's.
    StoreError
        If the store or the folder cannot be used.
    """

    def __init__(
        self,
        *,
        folder: str | os.PathLike[str] = FOLDER,
        store: str | None = None,
        side: int = SIDE,
        fresh: bool = False,
        photos: Mapping[str, str | os.PathLike[str]] | None = None,
    ) -> None:
        self.photos = photographs() if photos is None else photos
        self.side = side
        self.build(STRENGTH)  # whatever is wrong with the input is said before anything is made
        if fresh and store is not None:
            msg = f"--fresh empties the demo's own store only; remove {store!r} yourself"
            raise SpecError(msg)
        self.folder = Path(folder).absolute()
        with _writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        place = str(self.folder / "store") if store is None else store
        self.store: Store = _emptied(place) if fresh else open_store(place)

    @property
    def strength(self) -> Decimal:
        """The strength of the tone curve that the first two runs have."""
        return STRENGTH

    def build(self, strength: Decimal) -> Graph:
        """Return the graph with one strength of the tone curve."""
        return build(self.photos, side=self.side, strength=strength)

    def compile(self, strength: Decimal) -> Compiled:
        """Return the compiled graph with one strength of the tone curve."""
        return compile_graph(self.build(strength), OUTPUTS, store=self.store)

    def cold(self, client: Client, progress: Progress | bool | None = None) -> Lap:
        """Run on the store as it is; with an empty one, every op is called."""
        return self._lap("cold", client, STRENGTH, "", progress)

    def warm(self, client: Client, progress: Progress | bool | None = None) -> Lap:
        """Run the same again, built and compiled anew."""
        return self._lap("warm", client, STRENGTH, "", progress)

    def changed(self, client: Client, progress: Progress | bool | None = None) -> Lap:
        """Run with another strength of the tone curve, which only the montage depends on."""
        return self._lap("changed", client, self.change(), "-changed", progress)

    def change(self) -> Decimal:
        """Return a strength that has not been run on this store, or the first if all have."""
        for strength in CHANGES:
            if self.compile(strength).plan().counts()[Decision.RUN]:
                return strength
        return CHANGES[0]

    def _lap(
        self,
        name: str,
        client: Client,
        strength: Decimal,
        mark: str,
        progress: Progress | bool | None,
    ) -> Lap:
        start = time.perf_counter()
        run = self.compile(strength).run(scheduler=client, progress=progress)
        seconds = time.perf_counter() - start
        return Lap(name, run, seconds, strength, self._write(run.values, mark))

    def _write(self, values: Mapping[str, Any], mark: str) -> tuple[Path, ...]:
        """Write the outputs; a changed run differs in its montage only."""
        files = {self.folder / f"montage{mark}.png": values["montage/png"]}
        if not mark:
            files[self.folder / "edges.png"] = values["edges/png"]
            files[self.folder / "report.txt"] = values["report"].encode()
        with _writing(self.folder):
            for path, data in files.items():
                path.write_bytes(data)
        return tuple(files)


@contextmanager
def local_cluster() -> Iterator[tuple[Client, str, int]]:
    """Start worker processes on this machine; yield a client, the dashboard's link, their number.

    The dashboard takes another port if its usual one is taken.
    """
    import logging

    from dask.system import CPU_COUNT
    from distributed import Client, LocalCluster

    workers = max(1, min(CPU_COUNT, MAX_WORKERS))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Port .* is already in use")
        cluster = LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address=":8787",
            silence_logs=logging.ERROR,
        )
    with cluster, Client(cluster, set_as_default=False) as client:
        client.run(_leave_interrupts)
        yield client, cluster.dashboard_link, workers


def _leave_interrupts() -> None:
    """Let Ctrl-C reach the client alone; it stops the workers, without their tracebacks."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def causes(run: Run, graph: Graph) -> list[Cause]:
    """Return why nodes ran, the root causes first in the order of the graph.

    The last entry, with no causes of its own, is of nodes that follow from several roots.
    """
    own: dict[str, tuple[str, ...]] = {}
    position = {node: i for i, node in enumerate(graph)}
    roots: dict[str, frozenset[str]] = {}
    for planned in run.plan.nodes():  # in topological order
        if planned.decision is not Decision.RUN:
            continue
        if planned.shares is not None:
            roots[planned.node] = roots[planned.shares]
            continue
        told = tuple(cause for cause in planned.causes if not cause.startswith(_FOLLOWS))
        if told:
            own[planned.node] = told
        upstream = [roots.get(name, frozenset()) for name in graph[planned.node].refs]
        roots[planned.node] = frozenset({planned.node}) if told else frozenset().union(*upstream)
    found = [
        Cause(node, told, tuple(n for n, of in roots.items() if of == {node} and n != node))
        for node, told in sorted(own.items(), key=lambda item: position[item[0]])
    ]
    common = tuple(node for node, of in roots.items() if len(of) > 1)
    return [*found, Cause("", (), common)] if common else found


def _emptied(place: str) -> Store:
    # Opened first: a folder that is no store is refused, not removed.
    store = DiskStore(place)
    store.close()
    with _writing(Path(place)):
        shutil.rmtree(place)
    return DiskStore(place)


@contextmanager
def _writing(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        msg = f"cannot write to {place}: {error.strerror or error}"
        raise StoreUnavailableError(msg) from error
