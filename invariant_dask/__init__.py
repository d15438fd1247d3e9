"""Deterministic, content-addressed computation on Dask.

Write a graph of pure operations, `compile` it, and `.compute()`: nodes are named by what they
depend on, a store is asked before anything is submitted, and nothing is computed twice.

Names are imported when first used, so that importing the package stays cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from invariant_dask._version import __version__

if TYPE_CHECKING:
    from invariant_dask.core.files import File
    from invariant_dask.core.types import ICacheable
    from invariant_dask.graph.documents import Document, dump_graph, load_document, load_graph
    from invariant_dask.graph.model import Cel, Graph, Node, Ref, SubGraphNode, SwitchNode, cel, ref
    from invariant_dask.graph.secrets import Secret
    from invariant_dask.ops.registry import OpRegistry, default_registry, op
    from invariant_dask.ops.types import cacheable
    from invariant_dask.plan.plan import Decision, Plan
    from invariant_dask.runtime.plugins import DashboardPlugin
    from invariant_dask.session import Compiled, Run, compile  # noqa: A004
    from invariant_dask.store.chain import ChainStore
    from invariant_dask.store.disk import DiskStore
    from invariant_dask.store.file_artifacts import FileArtifact
    from invariant_dask.store.memory import MemoryStore
    from invariant_dask.store.null import NullStore
    from invariant_dask.store.objects import ObjectStore
    from invariant_dask.store.opening import open_store
    from invariant_dask.store.tiers import Tier
    from invariant_dask.store.wrapping import ReadOnly

__all__ = [
    "Cel", "ChainStore", "Compiled", "DashboardPlugin", "Decision", "DiskStore", "Document", "File",
    "FileArtifact", "Graph", "ICacheable", "MemoryStore", "Node", "NullStore", "ObjectStore",
    "OpRegistry", "Plan", "ReadOnly", "Ref", "Run", "Secret", "SubGraphNode", "SwitchNode", "Tier",
    "__version__", "cacheable", "cel", "compile", "default_registry", "dump_graph", "load_document",
    "load_graph", "op", "open_store", "ref",
]  # fmt: skip

_HOMES = {
    "core.files": ("File",),
    "core.types": ("ICacheable",),
    "graph.documents": ("Document", "dump_graph", "load_document", "load_graph"),
    "graph.model": ("Cel", "Graph", "Node", "Ref", "SubGraphNode", "SwitchNode", "cel", "ref"),
    "graph.secrets": ("Secret",),
    "ops.registry": ("OpRegistry", "default_registry", "op"),
    "ops.types": ("cacheable",),
    "plan.plan": ("Decision", "Plan"),
    # The latter is what `dask scheduler --preload invariant_dask` looks for.
    "runtime.plugins": ("DashboardPlugin", "dask_setup"),
    "session": ("Compiled", "Run", "compile"),
    "store.chain": ("ChainStore",),
    "store.disk": ("DiskStore",),
    "store.file_artifacts": ("FileArtifact",),
    "store.memory": ("MemoryStore",),
    "store.null": ("NullStore",),
    "store.objects": ("ObjectStore",),
    "store.opening": ("open_store",),
    "store.tiers": ("Tier",),
    "store.wrapping": ("ReadOnly",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
