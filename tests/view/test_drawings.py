"""Pictures as files and on pages: whatever ids and ops are called, they are only ever text."""

from __future__ import annotations

import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import sample_ops

from invariant_dask import Graph, MemoryStore, SubGraphNode, SwitchNode, compile, ref
from invariant_dask.errors import GraphvizError, PictureError
from invariant_dask.graph.model import Node
from invariant_dask.view.drawing import Drawing
from invariant_dask.view.graphviz import render
from invariant_dask.view.html import html_of
from invariant_dask.view.picture import Cluster, Edge, EdgeKind, Kind, Picture, PictureNode
from invariant_dask.view.states import State
from invariant_dask.view.svg import STYLE, legend_items, svg_of
from invariant_dask.view.text import bounded, clean, fitted, width_of

SVG = "{http://www.w3.org/2000/svg}"

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'; alert(1); '",
    "&lt;b&gt; &amp; &#60;",
    'quote " and backslash \\',
    "ends in a backslash\\",
    "\\N \\G \\L \\l \\n",
    "]]> <!-- --> </style></title></script><script>",
    "zero \x00 and bell \x07",
    "line\nbreak\r\ttab",
    "turned \u202eround\u202c",
    "not a character \uffff, not seen \u200b",
    "${jndi} %s {0} `id` $(id)",
    "url(https://example.org) @import",
    "名前 émoji 🙂",
    "x" * 3000,
]


STATES = (State.RAN, State.UNDECIDED, State.FAILED, State.RAN)


def hostile() -> Picture:
    """Every text that a picture has, each hostile in each way."""
    nodes = tuple(
        PictureNode(
            text, text, text, kind, state, (text, text),
            cluster=None if kind is Kind.GROUP else number % len(HOSTILE),
            counts={State.RAN: 2, State.REUSED: 1} if kind is Kind.GROUP else {},
        )
        for number, (text, kind, state) in enumerate(
            (text, kind, state)
            for text in HOSTILE
            for kind, state in zip(Kind, STATES, strict=True)
        )
    )  # fmt: skip
    edges = tuple(
        Edge(number, number + 1, kind)
        for number, kind in zip(range(len(nodes) - 1), list(EdgeKind) * 99, strict=False)
    )
    clusters = tuple(Cluster(text, text, None) for text in HOSTILE)
    return Picture(" ".join(HOSTILE), " ".join(HOSTILE), nodes, edges, clusters, tuple(HOSTILE))


def simple() -> Picture:
    g = Graph("simple")
    src = g.add("src", sample_ops.source, seed=4)
    inner = {"sum": Node("t:total", {"values": ref("x")})}
    g["box"] = SubGraphNode({"x": src}, graph=inner, output="sum")
    return compile(g, store=MemoryStore()).visualize().picture


class Tags(HTMLParser):
    """The elements of a page, and the text in them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_svg_of_hostile_text_is_well_formed_and_has_only_elements_of_ours() -> None:
    root = ET.fromstring(svg_of(hostile()))
    tags = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert tags == {"svg", "style", "g", "title", "rect", "polygon", "path", "text"}
    names = {name for element in root.iter() for name in element.attrib}
    assert not {name for name in names if name.startswith("on") or "href" in name}
    told = "\n".join(element.text or "" for element in root.iter(f"{SVG}title"))
    for text in HOSTILE[:-1]:
        assert clean(text) in told
    assert "x" * 401 not in told


def test_a_page_with_hostile_text_has_no_script_and_no_link_but_ours() -> None:
    page = html_of(hostile())
    found = Tags(page)
    names = [tag for tag, _ in found.tags]
    assert names.count("script") == names.count("style") == names.count("main") == 1
    assert not {"img", "iframe", "object", "link", "a", "base", "form"} & set(names)
    for _, attributes in found.tags:
        assert not {name for name in attributes if name.startswith("on")}
        assert not {"src", "href", "style", "xlink:href"} & attributes.keys()


def test_a_page_forbids_itself_the_network_and_other_scripts() -> None:
    page = html_of(simple())
    [policy] = [
        attributes["content"] or ""
        for tag, attributes in Tags(page).tags
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy.startswith("default-src 'none'; ")
    assert re.search(r"script-src 'sha256-[^']+'; style-src 'sha256-[^']+';", policy)
    assert "unsafe" not in policy
    # The only address in it is the name of the language.
    assert set(re.findall(r"\w+://[^\"' ]+", page)) == {"http://www.w3.org/2000/svg"}


def test_a_page_has_the_title_and_the_summary_and_a_legend() -> None:
    picture = simple()
    text = Tags(html_of(picture)).text
    for words in ("simple", picture.summary, "to run", "data", "src", "t:source", "box"):
        assert words in text
    assert [words for _, words in legend_items(picture)] == ["to run", "data"]


def test_graphviz_takes_hostile_text_as_text() -> None:
    picture = hostile()
    drawing = Drawing(picture)
    root = ET.fromstring(drawing.render("svg"))
    nodes = [g for g in root.iter(f"{SVG}g") if g.get("class") == "node"]
    tips = {a.get("{http://www.w3.org/1999/xlink}title") for a in root.iter(f"{SVG}a")}
    legend = len(picture.states()) + 2 * len(picture.edge_kinds())
    assert len(nodes) == len(picture.nodes) + legend
    told = "\n".join(tip or "" for tip in tips)
    shown = {text.text for text in root.iter(f"{SVG}text")}
    for text in HOSTILE[:-1]:
        assert clean(text).replace("\\", "\u29f5") in told
        assert bounded(text, 34) in shown
    assert not list(root.iter(f"{SVG}script"))


def test_dot_names_nodes_by_number_and_draws_edges_by_their_kind() -> None:
    dot = Drawing(simple()).dot()
    assert "rankdir=LR" in dot
    assert "n0 -> n1 [style=solid]" in dot
    assert re.search(r'subgraph cluster_0 \{ label="box"', dot)
    kinds = Drawing(hostile()).dot()
    for style in ("solid", "dashed", "dotted"):
        assert f"[style={style}]" in kinds


def test_groups_show_how_much_of_them_is_in_each_state() -> None:
    counts = {State.TO_RUN: 1, State.REUSED: 999}
    node = PictureNode("img:blur", "img:blur", "1 to run", Kind.GROUP, State.REUSED, counts=counts)
    picture = Picture("", "", (node,), ())
    root = ET.fromstring(svg_of(picture))
    bars = [r for r in root.iter(f"{SVG}rect") if "bar" in r.get("class", "")]
    assert [bar.get("class") for bar in bars] == ["bar to-run", "bar reused"]
    widths = [float(bar.get("width", "0")) for bar in bars]
    assert 3 <= widths[0] < widths[1] / 5
    assert "img:blur \u00d71,000" in svg_of(picture)
    assert "style=striped" in Drawing(picture).dot()
    assert "1 to run\n999 reused" in svg_of(picture)


def test_fragments_can_share_one_style() -> None:
    fragment = svg_of(simple(), style=False, legend=False)
    assert STYLE not in fragment
    assert "<style" not in fragment
    assert STYLE in svg_of(simple())
    assert "prefers-color-scheme:dark" in STYLE


def test_a_notebook_shows_it_without_graphviz(monkeypatch) -> None:
    monkeypatch.setenv("PATH", "")
    drawing = Drawing(simple())
    assert ET.fromstring(drawing._repr_svg_()).tag == f"{SVG}svg"
    assert "to run" in repr(drawing)


def test_files_have_the_format_of_their_suffix_or_the_one_asked_for(tmp_path) -> None:
    drawing = Drawing(simple())
    assert drawing.save(tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in drawing.save(str(tmp_path / "a.svg")).read_bytes()
    assert drawing.save(tmp_path / "a.html").read_text().startswith("<!DOCTYPE html>")
    assert drawing.save(tmp_path / "a.DOT").read_text().startswith("digraph")
    assert drawing.save(tmp_path / "bare", "dot") == tmp_path / "bare.dot"
    assert drawing.save(tmp_path / "a.txt", "dot").read_text().startswith("digraph")
    assert {path.name for path in tmp_path.iterdir()} == {
        "a.png", "a.svg", "a.html", "a.DOT", "bare.dot", "a.txt",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("filename", "suffix", "told"),
    [
        ("x.gif", None, "no format 'gif'; pictures are svg, png, dot, html"),
        ("x", None, "the file has no suffix that says how; pictures are"),
        ("x.svg", "pdf", "no format 'pdf'"),
        (None, "svg", "format='svg' is that of a file; name one"),
    ],
)
def test_what_cannot_be_drawn_is_refused_before_the_store_is_asked(
    filename, suffix, told, monkeypatch
) -> None:
    compiled = compile({"n": sample_ops.source.node(seed=1)}, store=MemoryStore())
    monkeypatch.setattr(MemoryStore, "lookup", None)
    with pytest.raises(PictureError, match=told):
        compiled.visualize(filename, suffix)


def test_visualize_writes_the_file_and_returns_the_drawing(tmp_path) -> None:
    compiled = compile({"n": sample_ops.source.node(seed=1)}, store=MemoryStore())
    drawing = compiled.visualize(tmp_path / "plan.html")
    assert (tmp_path / "plan.html").read_text() == drawing.html()
    run = compiled.run(scheduler="sync")
    assert ">ran<" in run.visualize(tmp_path / "run.html").html()
    assert (tmp_path / "run.html").is_file()


def test_without_graphviz_png_and_svg_say_how_to_get_it_and_the_others_work(
    tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    compiled = compile({"n": sample_ops.source.node(seed=1)}, store=MemoryStore())
    for name in ("x.png", "x.svg"):
        with pytest.raises(GraphvizError, match=r"apt-get install graphviz.*ask for html or dot"):
            compiled.visualize(tmp_path / name)
    compiled.visualize(tmp_path / "x.html")
    compiled.visualize(tmp_path / "x.dot")
    assert {path.name for path in tmp_path.iterdir()} == {"x.html", "x.dot"}


def program(folder: Path, text: str) -> None:
    path = folder / "dot"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_graphviz_that_fails_or_hangs_is_an_error_that_says_so(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    program(tmp_path, "echo 'Format: \"png\" not recognized' >&2; exit 3")
    with pytest.raises(GraphvizError, match='failed with code 3: Format: "png" not recognized'):
        render("digraph {}", "png")
    program(tmp_path, "exec tail -f /dev/null")
    with pytest.raises(GraphvizError, match=r"did not finish within 0\.05 s"):
        render("digraph {}", "png", seconds=0.05)
    program(tmp_path, "exit 0")
    with pytest.raises(GraphvizError, match="failed with code 0"):
        render("digraph {}", "png")


def test_a_picture_is_there_as_a_whole_or_not_at_all(tmp_path, monkeypatch) -> None:
    (tmp_path / "bin").mkdir()
    program(tmp_path / "bin", "exit 1")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    (tmp_path / "x.png").write_text("before")
    with pytest.raises(GraphvizError):
        Drawing(simple()).save(tmp_path / "x.png")
    assert {path.name for path in tmp_path.iterdir()} == {"bin", "x.png"}
    assert (tmp_path / "x.png").read_text() == "before"


def test_dot_is_what_the_program_reads(tmp_path) -> None:
    done = subprocess.run(
        ["dot", "-Tcanon"],
        input=Drawing(hostile()).dot(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""


def test_text_is_spelt_out_where_it_would_not_be_seen() -> None:
    assert clean("a\u202eb\x00\n\uffff") == "a\\u202eb\\u0000\\u000a\\uffff"
    assert clean("👩\u200d🔬 plain é") == "👩\u200d🔬 plain é"
    assert clean("\U000e0001") == "\\U000e0001"


def test_long_text_keeps_its_beginning_and_its_end() -> None:
    assert bounded("a" * 50 + "b" * 50, 11) == "aaaa…bbbbbb"
    assert len(bounded("\x00" * 10_000)) <= 400
    for text in ("m" * 99, "名" * 99, "i" * 99, ""):
        assert width_of(fitted(text, 90, 12), 12) <= 90


def test_ops_that_nobody_could_register_are_drawn() -> None:
    g = Graph("ops")
    g.add("n", sample_ops.source, seed=1)
    for number, name in enumerate(HOSTILE):
        g[f"case {number}"] = Node(name)
    cases = {"n": "n", **{str(number): f"case {number}" for number in range(len(HOSTILE))}}
    g["pick"] = SwitchNode("n", cases=cases)
    drawing = compile(g, ["pick"], store=MemoryStore()).visualize()
    assert {node.op for node in drawing.picture.nodes} >= set(HOSTILE)
    assert "<script>alert" not in drawing.html()
    assert ET.fromstring(drawing.svg()).tag == f"{SVG}svg"
    assert drawing.render("svg")
