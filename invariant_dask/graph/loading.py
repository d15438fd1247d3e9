"""From a source to a graph: parse, check the envelope, graft other documents, name the place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from invariant_dask.errors import DocumentError
from invariant_dask.graph import json_text, yaml_documents
from invariant_dask.graph.model import Graph
from invariant_dask.graph.positions import NESTED, Fault, Path, Place, kind_of, show_path
from invariant_dask.graph.sources import Source, find_resource
from invariant_dask.graph.vertices import check_fields, check_output, read_graph

MAX_GRAFT_DEPTH = 20
"""Longest chain of documents that graft each other."""

MAX_GRAFTS = 10_000
"""Most grafts in one graph, each counted as often as it is repeated."""


def read_envelope(obj: Any) -> tuple[Graph, str | None]:
    """Return the graph and output of a parsed document.

    Raises
    ------
    Fault
        If it is no document, with the path to the place.
    """
    try:
        return _read_envelope(obj)
    except RecursionError:
        raise Fault(NESTED) from None


def _read_envelope(obj: Any) -> tuple[Graph, str | None]:
    if type(obj) is not dict:
        raise Fault(f"a document is a mapping, not {kind_of(obj)}")
    if obj.get("format") != "invariant-graph":
        shown = f"not {obj['format']!r:.60}" if "format" in obj else "and there is none"
        where = ("format",) if "format" in obj else ()
        raise Fault(f'the field "format" must be "invariant-graph", {shown}', where)
    version = obj.get("version", 1)
    if type(version) is not int or version != 1:
        raise Fault(f"version {version!r:.60} is not known here; only 1 is", ("version",))
    check_fields(obj, "a document", {"format", "version", "graph"}, {"output"})
    try:
        vertices = read_graph(obj["graph"], 1)
    except Fault as fault:
        raise fault.within("graph") from None
    output = check_output(obj["output"], vertices) if "output" in obj else None
    return Graph(nodes=vertices), output


def document_error(fault: Fault, name: str, source: Source | None = None) -> DocumentError:
    """Return what people see of a fault: with line and column, if there is a text."""
    place = fault.place or (0, 0)
    if source is not None and fault.place is None:
        place = locate(source, fault.path, at_key=fault.at_key)
    return DocumentError(
        fault.reason, source=name, line=place[0], column=place[1], path=show_path(fault.path)
    )


@dataclass(frozen=True, slots=True)
class TextOrigin:
    """Where the vertices of a graph are in a text."""

    source: Source
    ids: frozenset[str]

    def place(self, path: Sequence[str]) -> str:
        if path[1] not in self.ids:
            return ""  # added since
        line, column = locate(self.source, tuple(path))
        return f"{self.source.name or '<document>'}:{line}:{column}"


def locate(source: Source, path: Path, *, at_key: bool = False) -> Place:
    """Return where a path leads to in a source, or the closest place above it."""
    find = json_text.locate if source.format == "json" else yaml_documents.locate
    return find(source.text, path, at_key=at_key)


class Loader:
    """Reads one document and all that it grafts.

    Parameters
    ----------
    max_size
        The longest document that is read, in bytes.
    """

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._known: dict[str, tuple[Graph, str | None, int]] = {}
        self._grafts = 0

    def load(self, source: Source, outer: tuple[str, ...] = ()) -> tuple[Graph, str | None]:
        """Return the graph and output of a source.

        Parameters
        ----------
        source
            What to read.
        outer
            The documents that are being read around it.

        Raises
        ------
        DocumentError
            If it is not well formed.
        """
        try:
            if source.format == "json":
                obj = json_text.parse(source.text)
            else:
                around = (*outer, source.identity)
                obj = yaml_documents.parse(
                    source.text, lambda fields: self._graft(fields, source, around)
                )
            graph, output = read_envelope(obj)
        except Fault as fault:
            raise document_error(fault, source.name, source) from fault.__cause__
        graph.origin = TextOrigin(source, frozenset(graph))
        return graph, output

    def _graft(self, fields: Any, source: Source, around: tuple[str, ...]) -> dict[str, Any]:
        """Return the subgraph vertex that `!subgraph` stands for."""
        check_fields(fields, "!subgraph", {"resource", "deps", "params"}, {"output"})
        resource = fields["resource"]
        if type(resource) is not str or not resource:
            raise Fault(f"resource is a name or a path, not {kind_of(resource)}", ("resource",))
        try:
            found = find_resource(resource, source.folder, self._max_size)
            _check_chain((*around, found.identity))
            graph, output = self._load_once(found, around, source)
        except Fault as fault:
            raise fault.within("resource") from fault.__cause__
        chosen = fields.get("output", output)
        if chosen is None:
            raise Fault(f"{resource!r} names no output of its own; add the field 'output'")
        vertex = {name: fields[name] for name in ("deps", "params")}
        return {"kind": "subgraph", **vertex, "graph": graph, "output": chosen}

    def _load_once(
        self, found: Source, around: tuple[str, ...], source: Source
    ) -> tuple[Graph, str | None]:
        before = self._grafts
        if found.identity in self._known:
            graph, output, weight = self._known[found.identity]
            self._grafts += weight
        else:
            try:
                graph, output = self.load(found, around)
            except DocumentError as error:
                told = {name: getattr(error, name) for name in ("line", "column", "path", "source")}
                reason = f"{error.reason} (grafted by {source.name})"  # type: ignore[attr-defined]
                raise DocumentError(reason, **told) from error
            self._grafts += 1
            self._known[found.identity] = graph, output, self._grafts - before
        if self._grafts > MAX_GRAFTS:
            raise Fault(f"documents are grafted more than {MAX_GRAFTS} times")
        return graph, output


def _check_chain(chain: tuple[str, ...]) -> None:
    if chain[-1] in chain[:-1]:
        raise Fault(f"documents graft each other in a circle: {' -> '.join(chain)}")
    if len(chain) > MAX_GRAFT_DEPTH:
        raise Fault(f"more than {MAX_GRAFT_DEPTH} documents graft each other in a row")
