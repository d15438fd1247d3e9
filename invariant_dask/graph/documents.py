"""Graph documents: `{"format": "invariant-graph", "version": 1, "output": ..., "graph": ...}`.

JSON is read and written, YAML is read; every error is a `DocumentError` with its place. The format
is that of `invariant-core`, and what its writer can express is written with the same bytes. Ours
beyond it: `"cache": "volatile"`, `"hints"`, items of artifacts, and types that JSON lacks
(`read_values`). Files are opened by `sources` alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from invariant_dask.errors import DocumentError, GraphError
from invariant_dask.graph import data_uri
from invariant_dask.graph.composite import Vertex
from invariant_dask.graph.loading import Loader, document_error, read_envelope
from invariant_dask.graph.model import Graph
from invariant_dask.graph.positions import NESTED, Fault, guess
from invariant_dask.graph.resolve import check_graph
from invariant_dask.graph.sources import MAX_SIZE, Source, find_source
from invariant_dask.graph.write_vertices import write_graph


@dataclass(frozen=True)
class Document:
    """What a document holds.

    Attributes
    ----------
    graph
        The vertices.
    output
        The vertex whose artifact is meant by default.
    context
        Context values by name; only data URIs carry some.
    """

    graph: Graph
    output: str | None = None
    context: dict[str, Any] = field(default_factory=dict)


def load_document(
    source: str | bytes | os.PathLike[str] | Mapping[str, Any],
    *,
    format: str = "auto",  # noqa: A002  the natural name
    name: str = "",
    folder: str | os.PathLike[str] | None = None,
    max_size: int = MAX_SIZE,
) -> Document:
    """Read a graph document.

    Parameters
    ----------
    source
        A path; or the text itself, as bytes or as a str that starts with `{` or has several lines;
        or a data URI; or a document that was parsed already.
    format
        `"json"`, `"yaml"`, or `"auto"`: by the suffix of the file, else JSON if the text starts
        with `{` and YAML if not.
    name
        What errors call a text; files have their path.
    folder
        Where the files lie that a YAML text grafts with `!subgraph`; those of a file lie beside it.
    max_size
        The longest document that is read, in bytes.

    Returns
    -------
    Document
        The graph, its default output, and context values.

    Raises
    ------
    DocumentError
        If the document is not well formed, with file, line, column and path.

    Notes
    -----
    No class and no module is ever imported because a document names it, and YAML tags build no
    objects: only types that are registered (`@cacheable`) are built, by their own methods.

    Examples
    --------
    >>> document = load_document('''
    ... format: invariant-graph
    ... version: 1
    ... output: sum
    ... graph:
    ...   sum: {kind: node, op_name: "stdlib:add", params: {a: 2, b: 0.5}, deps: []}
    ... ''')
    >>> document.output, document.graph["sum"].params
    ('sum', {'a': 2, 'b': Decimal('0.5')})
    """
    if isinstance(source, Mapping):
        return _read_parsed(dict(source), name)
    if isinstance(source, str) and data_uri.is_data_uri(source):
        return load_data_uri(source, max_size=max_size)
    found = find_source(source, format, name, folder, max_size)
    graph, output = Loader(max_size).load(found)
    return Document(graph, output)


def load_graph(
    source: str | bytes | os.PathLike[str] | Mapping[str, Any],
    *,
    format: str = "auto",  # noqa: A002  the natural name
    name: str = "",
    folder: str | os.PathLike[str] | None = None,
    max_size: int = MAX_SIZE,
) -> Graph:
    """Read the graph of a document; the parameters and errors are those of `load_document`.

    Examples
    --------
    >>> load_graph('{"format": "invariant-graph", "version": 1, "graph": {}}')
    <Graph: 0 nodes>
    """
    document = load_document(source, format=format, name=name, folder=folder, max_size=max_size)
    return document.graph


def _read_parsed(obj: dict[str, Any], name: str) -> Document:
    try:
        graph, output = read_envelope(obj)
    except Fault as fault:
        raise document_error(fault, name) from fault.__cause__
    return Document(graph, output)


def _parsed(graph: Mapping[str, Vertex], output: str | None) -> dict[str, Any]:
    """Return a document as plain JSON."""
    try:
        if graph or not isinstance(graph, Mapping):
            check_graph(graph)
        vertices = write_graph(graph, 1)
    except Fault as fault:
        raise document_error(fault.within("graph"), "") from fault.__cause__
    except GraphError as error:
        raise DocumentError(str(error), path="graph") from error
    except RecursionError:
        raise DocumentError(NESTED, path="graph") from None
    if output is not None and output not in graph:
        reason = f"the output {output!r} is not in the graph; {guess(output, graph)}"
        raise DocumentError(reason, path="output")
    named = {} if output is None else {"output": output}
    return {"format": "invariant-graph", "version": 1, **named, "graph": vertices}


def dump_graph(graph: Mapping[str, Vertex], output: str | None = None) -> str:
    """Return the document of a graph as JSON.

    Equal graphs have equal documents, byte for byte. Ids in `deps` are sorted; markers, decimals
    and all else that JSON lacks become mappings with one `$` key.

    Parameters
    ----------
    graph
        Vertices by id.
    output
        The vertex whose artifact is meant by default.

    Returns
    -------
    str
        One line, all ASCII.

    Raises
    ------
    DocumentError
        If a parameter has no form in a document; the error has the path to it.

    Examples
    --------
    >>> graph = Graph()
    >>> _ = graph.add("a", "stdlib:identity", value=(1,))
    >>> json.loads(dump_graph(graph))["graph"]["a"]["params"]
    {'value': {'$tuple': [1]}}
    """
    return json.dumps(_parsed(graph, output), sort_keys=True)


def dump_data_uri(
    graph: Mapping[str, Vertex],
    output: str | None = None,
    context: Mapping[str, Any] | None = None,
) -> str:
    """Return a graph, and values for its context, as a data URI.

    Raises
    ------
    DocumentError
        If a parameter or context value has no form in a document.
    """
    text = json.dumps(_parsed(graph, output), separators=(",", ":"), sort_keys=True)
    try:
        return data_uri.join(text, context or {})
    except Fault as fault:
        raise document_error(fault.within("context"), "") from fault.__cause__


def load_data_uri(uri: str, *, max_size: int = MAX_SIZE) -> Document:
    """Read a data URI; the values of its query are the context.

    A value is read as JSON where it is JSON, with the same markers for types as in parameters;
    otherwise it is text.

    Raises
    ------
    DocumentError
        If it is no data URI of a graph, or what it holds is not well formed.
    """
    name = "<data URI>"
    if len(uri) > 2 * max_size:
        reason = f"longer than twice {max_size:,} characters; pass max_size= to read it"
        raise DocumentError(reason, source=name)
    try:
        text, query = data_uri.split(uri)
    except Fault as fault:
        raise document_error(fault, name) from fault.__cause__
    graph, output = Loader(max_size).load(Source(text, name, "json"))
    try:
        return Document(graph, output, data_uri.read_query(query))
    except Fault as fault:
        raise document_error(fault.within("context"), name) from fault.__cause__


def data_uri_cache_key(uri: str) -> str:
    """Return what stands for the graph of a data URI: the URI without its context.

    Raises
    ------
    DocumentError
        If it is no data URI of a graph.
    """
    try:
        return data_uri.without_query(uri)
    except Fault as fault:
        raise document_error(fault, "<data URI>") from fault.__cause__
