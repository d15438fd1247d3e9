"""The rank table: a module imports lower ranks only, or earlier files of its own package."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "invariant_dask"

# Rank of each room. Rooms of one rank do not know each other.
RANKS = {
    "errors": 0,
    "_version": 0,
    "cards": 0,
    "core": 1,
    "graph": 2,
    "store": 2,
    "ledger": 2,
    "ops": 3,
    "plan": 4,
    "view": 5,
    "runtime": 6,
    "session": 7,
    "live": 8,
    "cli": 9,
}
NOT_YET = {"live"}

# At the side: may use everything public, and nothing but these may use them.
SIDE = {"testing": set(), "demo": {"cli"}}

# Files of each package in order: one may import those before it.
FILES = {
    "core": [
        "digest", "sealed", "files", "types", "cbor", "scalars", "refusals", "arrays", "encode",
        "reader", "forms", "decode", "manifest",
    ],
    "graph": [
        "cel_values", "cel_literals", "cel", "cel_objects", "expressions", "secrets", "markers",
        "node", "upstream",
        "composite", "model", "foreign", "resolve", "positions", "json_text", "literals",
        "registered", "read_values", "write_values", "vertices", "write_vertices", "yaml_scalars",
        "yaml_documents", "data_uri", "sources", "loading", "documents",
    ],
    "store": [
        "compression", "file_artifacts", "codec_arrow", "codec_pandas", "codec_images", "codecs",
        "about", "naming", "layout", "sizes", "record", "signals", "keeper", "backend", "keys",
        "trust", "signers", "misses", "reading", "base", "memory", "null", "grouping",
        "connections", "index", "heartbeat", "notes",
        "budget", "evictions", "removals", "collector", "collecting", "spool", "folder",
        "blob_files", "disk_keeper", "disk",
        "disk_opening",
        "objects_wire", "objects_files", "objects_fsspec", "objects_obstore", "objects_urls",
        "objects_loop", "objects_outage", "objects_client", "objects_names", "objects_reading",
        "objects_uploads",
        "objects_blobs", "objects_keeper", "objects", "objects_opening", "wrapping", "late",
        "breaker", "behind",
        "tiers", "found_far", "chain_ref", "chain_trust", "chain_tiers", "chain", "chain_opening",
        "opening", "finding", "leases", "verifying", "transfer", "overview", "upkeep",
        "file_sources", "file_hashes", "files",
    ],
    "ledger": [
        "events", "coding", "state", "folding", "journal", "places", "alive", "rows", "database",
        "runs",
        "writing", "telling", "comparing", "recorder",
    ],
    "ops": [
        "code_homes", "code_parts", "code_ast", "code_names", "code_source", "code_values",
        "code_resolve", "code_classes", "reach", "fingerprint", "code_text", "identity",
        "signature", "hints", "misfits", "checks", "contracts", "entry", "types", "claims",
        "packages", "numeric", "values", "surroundings", "stdlib", "poly", "table", "registry",
    ],
    "plan": [
        "payload", "program", "words", "cost", "plan", "coherence", "drift", "decide", "estimate",
        "binding", "fitting", "places", "written", "differences", "explain", "explanation",
        "stepping", "compile", "seed",
    ],
    "view": [
        "states", "text", "picture", "outline", "marking", "grouping", "layers", "rows", "placing",
        "layout", "svg", "html", "dot", "graphviz", "drawing", "amounts", "critical", "reasons",
        "bars", "gantt", "shell", "happened", "timing", "chapters", "report", "pace", "console",
    ],
    "testing": ["samples", "basics", "contract", "codecs", "counting", "trouble"],
    "runtime": [
        "choice", "collector", "environment", "failures", "flight", "sealing", "handle", "code",
        "arguments", "spec", "outbox", "board_states", "board_trim", "board_run", "board_totals",
        "board", "board_view", "board_picture", "dashboard_style", "dashboard_text",
        "dashboard_views", "webpages", "dashboard_plots", "dashboard", "metrics", "plugins",
        "watching", "attempts", "codes", "produce", "task", "sharing", "listening", "settling",
        "graph", "known",
        "loop", "schedulers", "explaining", "planner", "run", "doubts", "telling", "driver",
        "stages", "growth", "recording", "collection",
    ],
}  # fmt: skip

# Third parties that only some files may know.
FENCES = {
    "dask": ("runtime/", "session.py", "demo/"),
    "distributed": ("runtime/", "session.py", "demo/"),
    "fsspec": ("store/objects_fsspec.py", "store/file_sources.py"),
    "obstore": ("store/objects_obstore.py",),
    "bokeh": ("runtime/dashboard.py", "runtime/dashboard_plots.py", "view/"),
    "tornado": ("runtime/dashboard.py", "runtime/webpages.py"),
    "prometheus_client": ("runtime/metrics.py", "runtime/plugins.py"),
    "yaml": ("graph/yaml_documents.py", "graph/yaml_scalars.py"),
    "celpy": ("graph/expressions.py",),
    "re2": ("graph/cel_values.py",),
    "click": ("cli/",),
    "cryptography": ("store/keys.py",),
    "rich": ("cli/", "view/console.py"),
    "cloudpickle": ("runtime/code.py",),
    "pandas": ("store/codec_pandas.py",),
    "pyarrow": ("store/codec_arrow.py", "store/codec_pandas.py"),
    "PIL": ("store/codec_images.py", "demo/"),
    "zstandard": ("store/compression.py",),
}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imports_of(path: Path) -> list[str]:
    """All imported module names, at any depth of the file and under TYPE_CHECKING too."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_module_imports_only_what_its_rank_allows(path: Path) -> None:
    room = room_of(path)
    if room in {"__init__", "__main__"}:
        return  # the front doors name everything, lazily
    for name in imports_of(path):
        if not name.startswith("invariant_dask."):
            continue
        target, *rest = name.removeprefix("invariant_dask.").split(".")
        if target.startswith("__version__"):
            continue
        if room in SIDE:
            continue
        if target in SIDE:
            assert room in SIDE[target], f"{path} imports {name}"
        elif target != room:
            assert RANKS[target] < RANKS[room], f"{path} (rank {RANKS[room]}) imports {name}"
        elif FILES.get(room):
            own, other = path.stem, rest[0] if rest else ""
            if own == "__init__" or other not in FILES[room]:
                continue
            order = FILES[room]
            assert own in order, f"say where {path} stands in FILES"
            assert order.index(other) < order.index(own), f"{path} imports a later file: {name}"


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_third_parties_stay_behind_their_fences(path: Path) -> None:
    where = str(path.relative_to(PACKAGE))
    for name in imports_of(path):
        fence = FENCES.get(name.partition(".")[0])
        assert fence is None or where.startswith(fence), f"{where} imports {name}"


def test_every_room_has_a_rank_and_every_rank_a_room() -> None:
    rooms = {room_of(path) for path in modules()} - {"__init__", "__main__"} - SIDE.keys()
    assert rooms <= RANKS.keys()
    assert RANKS.keys() - rooms == NOT_YET
