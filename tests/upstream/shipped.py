"""What upstream ships beside its code: examples, documents and pages, from its source archives.

The wheels hold none of it. `python tests/upstream/shipped.py` fetches the archives of the versions
that are installed, as `.ci/run` does; tests fetch them where that was not done.
"""

from __future__ import annotations

import contextlib
import re
import runpy
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from decimal import Decimal
from importlib import metadata
from pathlib import Path

import invariant
import invariant_gfx
from invariant.ops import poly, stdlib
from invariant.store.memory import MemoryStore
from invariant_gfx import recipes
from invariant_gfx.anchors import absolute, relative

PACKAGES = ("invariant-core", "invariant-gfx")
DISCOVERED = ("stdlib:", "poly:", "gfx:")
HOME = Path(sys.prefix, "upstream-sources")


def fetch(package):
    """Return the folder of a package's source archive; download it, unless it is there."""
    version = metadata.version(package)
    folder = HOME / f"{package.replace('-', '_')}-{version}"
    if not folder.exists():
        HOME.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=HOME) as aside:
            download = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", aside]
            wanted = ["--no-deps", "--no-binary", ":all:", f"{package}=={version}"]
            subprocess.run([*download, *wanted], check=True)
            (archive,) = Path(aside).glob("*.tar.gz")
            with tarfile.open(archive) as members:
                members.extractall(aside, filter="data")
            Path(aside, folder.name).rename(folder)
    return folder


@dataclass(frozen=True)
class Executed:
    """What a script or a page asked upstream's executor for, and what it got."""

    graph: dict
    outputs: list
    context: dict | None
    results: dict
    ops: dict
    """Ops that it brought with it."""


@contextlib.contextmanager
def recorded(monkeypatch):
    """Yield a list of what upstream's executor is asked for meanwhile."""
    found = []
    execute = invariant.Executor.execute

    def recording(self, graph, outputs, context=None):
        results = execute(self, graph, outputs, context)
        table = self.registry._bindings.items()
        ops = {name: bound.op for name, bound in table if not name.startswith(DISCOVERED)}
        found.append(Executed(graph, list(outputs), context, results, ops))
        return results

    with monkeypatch.context() as patch:
        # Their registry is one object for the whole process, and scripts fill it.
        invariant.OpRegistry().clear()
        patch.setattr(invariant.Executor, "execute", recording)
        yield found
    invariant.OpRegistry().clear()


def run_script(script, arguments, folder, monkeypatch):
    """Run an example in a folder; return what it asked the executor for."""
    with recorded(monkeypatch) as found, monkeypatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(script.parent)
        patch.setattr(sys, "argv", [str(script), *arguments])
        try:
            runpy.run_path(str(script), run_name="__main__")
        except SystemExit as ended:
            if ended.code:
                raise AssertionError(f"{script.name} ended with {ended.code}") from ended
    return found


def blocks(page, *languages):
    """Return what is between the fences of a page."""
    fenced = re.finditer(r"^```(\w+)\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    return [block[2] for block in fenced if block[1] in languages]


def words():
    """Return the names that pages use without an import."""
    names = {name: getattr(invariant, name) for name in invariant.__all__}
    names |= {name: getattr(recipes, name) for name in recipes.__all__}
    return names | {
        "__name__": "page", "Decimal": Decimal, "MemoryStore": MemoryStore, "stdlib": stdlib,
        "poly": poly,
        "invariant_gfx": invariant_gfx, "relative": relative, "absolute": absolute,
    }  # fmt: skip


def run_page(page, folder, monkeypatch):
    """Run the blocks of a page, as far as they are more than fragments; return what they asked for.

    A graph that is shown and not executed is executed here, with every vertex as an output. What
    upstream cannot do itself is passed over: who calls this knows how many graphs there are.
    """
    every, space = [], words()
    for block in blocks(page, "python"):
        space.pop("graph", None)
        with recorded(monkeypatch) as found, monkeypatch.context() as patch:
            patch.chdir(folder)
            registry = space["registry"] = invariant.OpRegistry()
            if "OpRegistry()" not in block:
                registry.auto_discover()
            executor = space["executor"] = invariant.Executor(registry, MemoryStore())
            with contextlib.suppress(Exception):
                exec(compile(block, str(page), "exec"), space)
            if not found and (graph := space.get("graph")):
                registry.clear()
                registry.auto_discover()
                with contextlib.suppress(Exception):
                    executor.execute(graph, list(graph))
        every += found
    return every


if __name__ == "__main__":
    for name in PACKAGES:
        fetch(name)
