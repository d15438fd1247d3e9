"""All peers, by name, in the order they are shown."""

from __future__ import annotations

import importlib

from benchmarks.peers.peer import Peer

MODULES = (
    "ours",
    "bare_dask",
    "memoizers",
    "invariant_core",
    "hamilton_cache",
    "redun_tasks",
    "graphchain_get",
)

BASELINE = "dask.get"
"""The peer that ratios are to."""


def everyone() -> dict[str, Peer]:
    """Return the peers; none of their libraries is imported."""
    peers: dict[str, Peer] = {}
    for name in MODULES:
        module = importlib.import_module(f"benchmarks.peers.{name}")
        peers.update({peer.name: peer for peer in module.PEERS})
    return peers
