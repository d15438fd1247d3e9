"""Run the Python code that a command names: `path/to/file.py:name`, or what registers ops."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import traceback
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from click import echo, style

from invariant_dask.errors import GraphError, InvariantError, OpPackageWarning
from invariant_dask.graph.model import Node


def load_graph(where: str) -> Mapping[str, Node]:
    """Run a Python file and return the graph it holds under a name.

    Parameters
    ----------
    where
        `file.py:name`; the name is a `Graph`, a dict of nodes, or a function without arguments
        that returns one. Without a name it is `graph`.

    Raises
    ------
    GraphError
        If there is no such file or name, it is no graph, or the file fails while it is read.
    """
    path_text, _, name = where.partition(".py:") if ".py:" in where else (where, "", "")
    path = Path(path_text + ".py" if ".py:" in where else path_text)
    name = name or "graph"
    if path.suffix != ".py" or not path.is_file():
        msg = f"there is no file {str(path)!r}; write path/to/file.py:name"
        raise GraphError(msg)
    module = _run_file(path.resolve())
    if not hasattr(module, name):
        raise GraphError(f"{path} has no {name!r}{_graphs_in(module, 'it')}")
    found = getattr(module, name)
    if callable(found) and not isinstance(found, Mapping):
        found = _called(found, where, module)
    if not isinstance(found, Mapping):
        msg = (
            f"{where} is of type {type(found).__name__}, not a graph or a function that returns one"
        )
        raise GraphError(msg + _graphs_in(module))
    return found


def _called(function: Any, where: str, module: Any) -> Any:
    """Call what should return a graph, if it can be called so."""
    try:
        signature = inspect.signature(function)
        signature.bind()
    except TypeError as error:
        msg = f"{where} is a function that cannot be called without arguments ({error}), so it "
        msg += f"returns no graph{_graphs_in(module)}"
        raise GraphError(msg) from None
    except ValueError:  # some builtin, of which nobody knows what it takes
        pass
    path = str(getattr(module, "__file__", ""))
    try:
        return function()
    except InvariantError:
        raise
    except Exception as error:
        msg = f"{where} failed while it made the graph:\n{_told(error, path)}"
        raise GraphError(msg) from error


def _graphs_in(module: Any, who: str = "the file") -> str:
    known = [key for key, value in vars(module).items() if _is_graph(value)]
    return f"; {who} has {', '.join(map(repr, known))}" if known else ""


def import_code(sources: Iterable[str]) -> None:
    """Run Python files, or import modules, for the ops and types that they register.

    Raises
    ------
    GraphError
        If there is no such file or module, or it fails while it is read.
    """
    for source in sources:
        if source.endswith(".py"):
            path = Path(source)
            if not path.is_file():
                msg = f"--import: there is no file {source!r}"
                raise GraphError(msg)
            _run_file(path.resolve())
            continue
        # As `python -m` does; the script of this command lies elsewhere.
        if "" not in sys.path and str(Path.cwd()) not in sys.path:
            sys.path.insert(0, str(Path.cwd()))
        try:
            importlib.import_module(source)
        except Exception as error:
            msg = f"--import {source}: {type(error).__name__}: {error}"
            raise GraphError(msg) from error


def discover() -> None:
    """Load all installed packages of ops; tell of those that cannot be used."""
    from invariant_dask.ops.registry import default_registry

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", OpPackageWarning)
        default_registry().discover()
    for warning in caught:
        if issubclass(warning.category, OpPackageWarning):
            echo(f"{style('invariant-dask: warning:', fg='yellow')} {warning.message}", err=True)


def _run_file(path: Path) -> Any:
    name = path.stem
    loaded = sys.modules.get(name)
    if loaded is not None and getattr(loaded, "__file__", None) == str(path):
        return loaded  # for its ops, and now for its graph
    if name in sys.modules or not name.isidentifier():
        name = f"graph_{path.stem}".replace("-", "_").replace(".", "_")
    # Its own modules lie beside it, as when Python runs a script.
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise GraphError(f"{path} failed while it was read:\n{_told(error, path)}") from error
    return module


def _told(error: Exception, path: str | Path) -> str:
    """Return a traceback from the user's own first line on: the way there says nothing."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename != str(path):
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace)).rstrip()


def _is_graph(value: object) -> bool:
    return isinstance(value, Mapping) and any(isinstance(node, Node) for node in value.values())
