"""Every example, document and page that upstream ships, through both engines."""

from __future__ import annotations

import subprocess
from types import SimpleNamespace

import invariant
import pytest
from upstream import shipped
from upstream.oracle import Ours, Theirs, assert_same, compare, compare_on_cluster, shape

from invariant_dask.graph.documents import load_document
from invariant_dask.graph.foreign import adopt

SCRIPTS = {
    "invariant-core": {
        "commutative_canonicalization.py": [[], ["--x", "-5", "--y", "10", "--store", "chain"]],
        "polynomial_distributive.py": [[], ["--p-coeffs", "1,2,3,4", "--x", "0"]],
    },
    "invariant-gfx": {
        "color_dashboard.py": [[], ["--items", "A:10:orange", "--cell-size", "40"]],
        "effects_showcase.py": [["--cell-size", "60"]],
        "packed_text.py": [["Momentary lapse of Reason"], ["a b", "--size", "90x40"]],
        "quick_start.py": [[], ["--size", "144"]],
        "shapes_showcase.py": [[]],
        "text_badge.py": [[], ["--border-color", "1,2,3", "--padding-x", "3", "--text", "ÄÖ"]],
        "text_drop_shadow.py": [[], ["--shadow-sigma", "1.5", "--shadow-dx", "-4"]],
        "thermometer_button.py": [[], ["--size", "99", "--icon", "lucide:cloud"]],
    },
}
HELPERS = {"example_fonts.py"}
"""Files among the examples that are none."""
DOCUMENTS = {
    "invariant-core": {
        "commutative_canonicalization.json": {},
        "polynomial_distributive.json": {},
        "yaml_authoring_example.yaml": {},
    },
    "invariant-gfx": {
        "square_button_badge.json": {
            "text": "My Button", "color": "#FF0000", "width": 144, "height": 72,
        }
    },
}  # fmt: skip
# How many graphs of a page upstream can execute.
PAGES = {
    "invariant-core": {
        "README.md": 1, "docs/executor.md": 6, "docs/subgraphs.md": 1, "examples/README.md": 1,
    },
    "invariant-gfx": {"README.md": 1, "docs/reference_pipelines.md": 2},
}  # fmt: skip


def each(table):
    return pytest.mark.parametrize(
        ("package", "name"), [(package, name) for package in table for name in table[package]]
    )


@pytest.fixture(scope="session")
def home():
    """Return the folder of what a package ships."""

    def folder(package):
        try:
            return shipped.fetch(package)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"pip cannot download the sources of {package}: {error}")

    return folder


def test_every_example_and_document_is_among_these(home):
    for package in shipped.PACKAGES:
        folder = home(package) / "examples"
        assert {path.name for path in folder.glob("*.py")} - HELPERS == SCRIPTS[package].keys()
        documents = {path.name for path in folder.glob("*/*") if path.suffix != ".md"}
        assert documents == DOCUMENTS[package].keys()
        graphs = {
            str(path.relative_to(home(package)))
            for path in [*home(package).rglob("*.md")]
            if "Executor(" in path.read_text() and ".execute(" in path.read_text()
        }
        assert graphs - NOT_RUN.keys() <= PAGES[package].keys()


NOT_RUN = {
    "docs/async-executor.md": "the blocks are parts of coroutines",
    "docs/architecture.md": "its graph has Decimal('${...}'), an error in upstream too",
    "AGENTS.md": "fragments",
}


def both_engines(executed, client, folder):
    """Run what was executed upstream on all schedulers of ours."""
    for run in executed:
        asked = run.graph, run.outputs, run.context
        both = compare(*asked, ops=run.ops)
        assert_same(both.value, run.results)
        assert compare_on_cluster(*asked, client, folder / "store", ops=run.ops).ran() == []


@each(SCRIPTS)
def test_every_example_gives_the_same_in_both(package, name, home, client, tmp_path, monkeypatch):
    script = home(package) / "examples" / name
    executed = []
    for arguments in SCRIPTS[package][name]:
        executed += shipped.run_script(script, arguments, tmp_path, monkeypatch)
    assert len(executed) >= len(SCRIPTS[package][name])
    both_engines(executed, client, tmp_path)


@each(PAGES)
def test_every_graph_of_a_page_gives_the_same_in_both(
    package, name, home, client, tmp_path, monkeypatch
):
    executed = shipped.run_page(home(package) / name, tmp_path, monkeypatch)
    assert len(executed) == PAGES[package][name]
    both_engines(executed, client, tmp_path)


def read_by_both(text, language):
    of_json, of_yaml = invariant.load_graph_document, invariant.load_graph_document_yaml
    theirs, output = (of_json if language == "json" else of_yaml)(text)
    ours = load_document(text, format=language)
    assert ours.output == output
    assert ours.graph == adopt(theirs)
    return theirs, ours


@each(DOCUMENTS)
def test_every_document_gives_the_same_in_both(package, name, home, client, tmp_path):
    path = home(package) / "examples" / "serialized" / name
    theirs, ours = read_by_both(path.read_text(), path.suffix.removeprefix("."))
    context = DOCUMENTS[package][name]
    outputs = [ours.output] if ours.output else list(theirs)
    for given in [context] + [dict.fromkeys(context)] * bool(context):
        both = compare(theirs, outputs, given)
        assert_same(Ours("sync").run(ours.graph, outputs, given), both.value)
        assert compare_on_cluster(theirs, outputs, given, client, tmp_path).ran() == []


@each(DOCUMENTS)
def test_every_document_as_a_data_uri_gives_the_same_in_both(package, name, home):
    path = home(package) / "examples" / "serialized" / name
    theirs, ours = read_by_both(path.read_text(), path.suffix.removeprefix("."))
    context = DOCUMENTS[package][name]
    uri = invariant.dump_graph_data_uri(theirs, output=ours.output, context=context)
    graph, output, given = invariant.load_graph_data_uri(uri)
    document = load_document(uri)
    assert (document.graph, document.output) == (adopt(graph), output)
    assert shape(dict(document.context)) == shape(given) == shape(context)
    outputs = [output] if output else list(graph)
    expected = Theirs().run(graph, outputs, given)
    assert_same(Ours("sync").run(document.graph, outputs, document.context), expected)


BADGE = """
format: invariant-graph
version: 1
graph:
  final: {kind: node, op_name: "stdlib:identity", deps: [text], params: {value: !ref text}}
"""


def test_every_whole_document_of_the_pages_is_read_alike(home, monkeypatch):
    import justmyresource

    content = SimpleNamespace(data=BADGE.encode(), content_type="application/yaml", text=BADGE)
    registry = SimpleNamespace(get_resource=lambda name: content)
    monkeypatch.setattr(justmyresource, "get_default_registry", lambda: registry)
    page = home("invariant-core") / "docs" / "serialization.md"
    read = []
    for language in ("json", "yaml"):
        for text in shipped.blocks(page, language):
            if "invariant-graph" in text and "..." not in text:
                theirs, ours = read_by_both(text, language)
                output = ours.output or next(iter(theirs))
                context = {"art": None}
                expected = Theirs().run(theirs, [output], context)
                assert_same(Ours("sync").run(ours.graph, [output], context), expected)
                read.append(output)
    assert len(read) == 4
