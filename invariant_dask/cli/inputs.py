"""What commands read: the graph that an argument names, and values for its context.

A graph is `file.py:name`, a document in a file, `-` for a document on standard input, or a data
URI. What reads documents is imported when there is one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from invariant_dask.cli.loading import import_code, load_graph
from invariant_dask.errors import DanglingRefError, DocumentError, GraphError

if TYPE_CHECKING:
    from collections.abc import Callable

STDIN = "<stdin>"


@dataclass(frozen=True)
class Asked:
    """What the arguments of a command say about its graph.

    Attributes
    ----------
    graph
        Where the graph is.
    context
        A file with context values, if any.
    params
        Further ones, each `NAME=VALUE`; they win over those of the file.
    picks
        The vertices to produce; none means the default ones.
    input_format
        `auto`, `json` or `yaml`.
    imports
        Python files or modules that register ops and types.
    """

    graph: str
    context: str | None = None
    params: tuple[str, ...] = ()
    picks: tuple[str, ...] = ()
    input_format: str = "auto"
    imports: tuple[str, ...] = ()

    @property
    def is_python(self) -> bool:
        """Whether the graph is in a Python file."""
        return not _is_uri(self.graph) and (".py:" in self.graph or self.graph.endswith(".py"))


@dataclass(frozen=True)
class Input:
    """A graph that was read.

    Attributes
    ----------
    name
        What people call it.
    graph
        The vertices by id.
    outputs
        The vertices to produce; None means all that no other depends on.
    context
        Context values by name.
    """

    name: str
    graph: Mapping[str, Any]
    outputs: tuple[str, ...] | None
    context: dict[str, Any] = field(default_factory=dict)


def takes_a_graph(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the argument and options that say what its graph is, as one `Asked`."""

    @wraps(command)
    def called(
        graph: str,
        context: str | None,
        param: tuple[str, ...],
        pick: tuple[str, ...],
        input_format: str,
        imports: tuple[str, ...],
        **others: Any,
    ) -> None:
        command(Asked(graph, context, param, pick, input_format, imports), **others)

    for parameter in reversed(_PARAMETERS):
        parameter(called)
    return called


imports_option = click.option(
    "--import",
    "imports",
    metavar="FILE.py|MODULE",
    multiple=True,
    help="Python code to run first, that registers ops and types; may be repeated.",
)

_PARAMETERS = (
    click.argument("graph", metavar="GRAPH"),
    click.option(
        "--context", metavar="FILE", help="A JSON or YAML mapping of context values by name."
    ),
    click.option(
        "--param",
        metavar="NAME=VALUE",
        multiple=True,
        help="A context value: JSON if VALUE is JSON, else text. It wins over one of the same name "
        "in --context, and that over one in the document. May be repeated; of several of one name "
        "the last wins.",
    ),
    click.option(
        "--pick",
        "--output",
        "pick",
        metavar="ID",
        multiple=True,
        help="A node to produce, by default what the document names, else all that no other "
        "node depends on; may be repeated.",
    ),
    click.option(
        "--input-format",
        type=click.Choice(["auto", "json", "yaml"]),
        default="auto",
        help="How a document is written; auto goes by the suffix, then by the first character.",
    ),
    imports_option,
)


def read_input(asked: Asked) -> Input:
    """Return the graph and context that the arguments of a command say.

    Raises
    ------
    click.UsageError
        If the arguments do not go together.
    GraphError
        If there is no such graph, or it is not well formed.
    """
    if asked.is_python and asked.input_format != "auto":
        raise click.UsageError(f"--input-format is for documents; {asked.graph} is Python")
    if asked.graph == asked.context == "-":
        raise click.UsageError("the graph and --context cannot both come from standard input")
    import_code(asked.imports)
    named: str | None = None
    context: dict[str, Any] = {}
    if asked.is_python:
        graph = load_graph(asked.graph)
    else:
        document = _with_packages(_document_reader(asked.graph, asked.input_format))
        graph, named, context = document.graph, document.output, dict(document.context)
    if asked.context is not None:
        given = _with_packages(_context_reader(asked.context))
        if idle := _unused(given, graph):
            names = ", ".join(map(repr, idle))
            click.echo(f"not used by the graph: context values {names}", err=True)
        context |= given
    if asked.params:
        given = _with_packages(lambda: _read_params(asked.params))
        for name in _unused(given, graph):
            raise click.UsageError(f"--param {name}: {_why_unused(name, graph)}")
        context |= given
    return Input(
        _shown(asked.graph), graph, asked.picks or (None if named is None else (named,)), context
    )


@contextmanager
def with_cures() -> Iterator[None]:
    """Tell of the options that help, where compiling fails for want of a context value."""
    try:
        yield
    except DanglingRefError as error:
        if error.kind == "context value":
            cure = f"give it by --param {error.ref}=VALUE, or in a file by --context FILE"
            raise GraphError(f"{error}; {cure}") from error
        raise


def _wanted(graph: Mapping[str, Any]) -> set[str]:
    """Return the names that a graph takes from outside."""
    deps = {dep for vertex in graph.values() for dep in getattr(vertex, "deps", ())}
    return deps - graph.keys()


def _unused(given: Mapping[str, Any], graph: Mapping[str, Any]) -> list[str]:
    return sorted(given.keys() - _wanted(graph))


def _why_unused(name: str, graph: Mapping[str, Any]) -> str:
    from invariant_dask.graph.positions import guess

    if name in graph:
        return "the graph has a node of that name, which goes before any context value"
    wanted = _wanted(graph)
    hint = guess(name, wanted) if wanted else "it takes none"
    return f"the graph takes no such context value; {hint}"


def _document_reader(where: str, input_format: str) -> Callable[[], Any]:
    from invariant_dask.graph.documents import load_document

    if _is_uri(where):
        if input_format == "yaml":
            raise click.UsageError("--input-format yaml: what a data URI holds is JSON")
        return lambda: load_document(where)
    source, name, folder = _open(where)
    return lambda: load_document(source, format=input_format, name=name, folder=folder)


def _context_reader(where: str) -> Callable[[], dict[str, Any]]:
    source, name, _ = _open(where, "--context takes a JSON or YAML file, or - for standard input")
    return lambda: _read_context(source, name)


_GRAPHS = "write path/to/file.py:name, the path of a document, - for standard input, or a data URI"


def _open(where: str, takes: str = _GRAPHS) -> tuple[Path | bytes, str, Path]:
    """Return a file, or what a pipe holds, with its name and folder."""
    if where == "-":
        return sys.stdin.buffer.read(), STDIN, Path.cwd()
    path = Path(where)
    if path.is_dir():
        raise GraphError(f"{where!r} is a folder")
    if not path.exists():
        raise GraphError(f"there is no file {where!r}; {takes}")
    if path.is_file():
        return path, where, path.parent
    return path.read_bytes(), where, path.parent  # a pipe that the shell made


def _read_context(source: Path | bytes, name: str) -> dict[str, Any]:
    """Return the context values that a JSON or YAML mapping holds."""
    from invariant_dask.graph import json_text, yaml_documents
    from invariant_dask.graph.loading import document_error
    from invariant_dask.graph.positions import Fault, kind_of
    from invariant_dask.graph.read_values import CONTEXT
    from invariant_dask.graph.sources import MAX_SIZE, find_source

    def refuse(_fields: Any) -> Any:
        raise Fault("a context holds values, and !subgraph is none")

    found = find_source(source, "auto", name, None, MAX_SIZE)
    try:
        if found.format == "json":
            obj = json_text.parse(found.text)
        else:
            obj = yaml_documents.parse(found.text, refuse)
        if type(obj) is not dict:
            raise Fault(f"a context is a mapping of values by name, not {kind_of(obj)}")  # noqa: TRY301
        values: dict[str, Any] = CONTEXT.read_dict(obj, 0)
    except Fault as fault:
        raise document_error(fault, found.name, found) from fault.__cause__
    return values


def _read_params(params: Iterable[str]) -> dict[str, Any]:
    """Return the context values that `--param` gives."""
    from invariant_dask.graph.data_uri import read_value
    from invariant_dask.graph.loading import document_error
    from invariant_dask.graph.positions import Fault

    values = {}
    for param in params:
        name, equals, text = param.partition("=")
        if not name or not equals:
            raise click.UsageError(f"--param takes NAME=VALUE, not {param!r}")
        try:
            values[name] = read_value(text)
        except Fault as fault:
            fault.place = None  # it is short, and shown by its user's shell
            raise document_error(fault, f"--param {name}") from fault.__cause__
    return values


def _with_packages(read: Callable[[], Any]) -> Any:
    """Read what may hold values of installed packages; these are imported only if it does."""
    try:
        return read()
    except DocumentError as error:
        if "$icacheable" not in str(getattr(error, "path", "")):
            raise
    from invariant_dask.cli.loading import discover

    discover()
    return read()


def _is_uri(where: str) -> bool:
    return where.lstrip()[:5].lower() == "data:"


def _shown(where: str) -> str:
    if where == "-":
        return STDIN
    return "<data URI>" if _is_uri(where) else where
