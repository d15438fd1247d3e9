"""Where things are: nothing covers anything else, for any graph, and lines go around boxes."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from invariant_dask.view.layout import Box, lay_out
from invariant_dask.view.picture import Cluster, Edge, EdgeKind, Kind, Picture, PictureNode
from invariant_dask.view.states import State


def picture(
    clusters_of: list[int | None], pairs: list[tuple[int, int]], parents: list[int | None] = ()
) -> Picture:
    nodes = tuple(
        PictureNode(f"node {n}", f"node {n}", "op", Kind.NODE, State.RAN, cluster=cluster)
        for n, cluster in enumerate(clusters_of)
    )
    edges = tuple(Edge(a, b, EdgeKind.DATA) for a, b in dict.fromkeys(pairs))
    clusters = tuple(Cluster(f"c{n}", f"c{n}", parent) for n, parent in enumerate(parents))
    return Picture("", "", nodes, edges, clusters)


@st.composite
def pictures(draw: st.DrawFn, *, circles: bool = False) -> Picture:
    depth = draw(st.integers(0, 5))
    parents = [draw(st.sampled_from([None, *range(n)])) for n in range(depth)]
    places = st.sampled_from([None, *range(depth)])
    clusters_of = draw(st.lists(places, min_size=1, max_size=40))
    numbers = st.integers(0, len(clusters_of) - 1)
    pairs = draw(st.lists(st.tuples(numbers, numbers), max_size=60))
    if not circles:
        pairs = [(min(pair), max(pair)) for pair in pairs]
    return picture(clusters_of, [(a, b) for a, b in pairs if a != b], parents)


def apart(one: Box, other: Box, gap: float = 1.0) -> bool:
    return (
        one.x + one.width + gap <= other.x
        or other.x + other.width + gap <= one.x
        or one.y + one.height + gap <= other.y
        or other.y + other.height + gap <= one.y
    )


def within(inner: Box, outer: Box) -> bool:
    return (
        outer.x < inner.x
        and outer.y < inner.y
        and inner.x + inner.width < outer.x + outer.width
        and inner.y + inner.height < outer.y + outer.height
    )


@given(pictures(circles=True))
def test_no_box_covers_another_and_clusters_hold_what_is_theirs_and_nothing_else(drawn) -> None:
    layout = lay_out(drawn)
    for one, other in combinations(layout.nodes, 2):
        assert apart(one, other)
    for number, cluster in enumerate(drawn.clusters):
        box = layout.clusters[number]
        if cluster.parent is not None:
            assert within(box, layout.clusters[cluster.parent])
    for node, box in zip(drawn.nodes, layout.nodes, strict=True):
        above, place = set(), node.cluster
        while place is not None:
            above.add(place)
            place = drawn.clusters[place].parent
        for number, around in enumerate(layout.clusters):
            assert within(box, around) if number in above else apart(box, around, 0)
    for box in [*layout.nodes, *layout.clusters]:
        assert box.x >= -0.01
        assert box.y >= -0.01
        assert box.x + box.width <= layout.width + 0.01
        assert box.y + box.height <= layout.height + 0.01


@given(pictures(circles=True))
def test_an_edge_goes_from_a_side_of_its_source_to_a_side_of_its_target(drawn) -> None:
    layout = lay_out(drawn)
    for edge, points in zip(drawn.edges, layout.edges, strict=True):
        source, target = layout.nodes[edge.source], layout.nodes[edge.target]
        assert points[0] in {(source.x, source.middle), (source.x + source.width, source.middle)}
        assert points[-1] in {(target.x, target.middle), (target.x + target.width, target.middle)}


@given(pictures())
def test_without_circles_among_clusters_data_flows_from_left_to_right(drawn) -> None:
    flat = picture([None] * len(drawn.nodes), [(e.source, e.target) for e in drawn.edges])
    layout = lay_out(flat)
    for edge, points in zip(flat.edges, layout.edges, strict=True):
        source, target = layout.nodes[edge.source], layout.nodes[edge.target]
        assert source.x + source.width < target.x
        assert points == sorted(points, key=lambda point: point[0])


@given(pictures())
def test_straight_parts_of_edges_pass_no_box_but_their_ends(drawn) -> None:
    flat = picture([None] * len(drawn.nodes), [(e.source, e.target) for e in drawn.edges])
    layout = lay_out(flat)
    for points in layout.edges:
        for (x0, y0), (x1, y1) in combinations(points[1:-1], 2):
            if y0 != y1:
                continue
            for box in layout.nodes:
                if x0 < box.x + box.width and box.x < x1:
                    assert not box.y < y0 < box.y + box.height


def test_a_layer_of_many_is_folded_and_the_whole_keeps_a_shape_that_fits_a_screen() -> None:
    count = 300
    fan = [(0, n) for n in range(1, count)] + [(n, count) for n in range(1, count)]
    layout = lay_out(picture([None] * (count + 1), fan))
    assert 0.8 < layout.width / layout.height < 3
    lost = lay_out(picture([None] * count, []))
    assert 0.8 < lost.width / lost.height < 3


def test_pictures_of_every_size_are_laid_out() -> None:
    assert lay_out(picture([], [])).nodes == []
    [box] = lay_out(picture([None], [])).nodes
    assert (box.x, box.y) == (0, 0)
    chain = [(n, n + 1) for n in range(4999)]
    assert len(lay_out(picture([None] * 5000, chain)).edges) == 4999


def test_lines_too_many_to_be_kept_apart_are_drawn_all_the_same() -> None:
    chain = [(n, n + 1) for n in range(400)]
    layout = lay_out(picture([None] * 401, chain + [(a, 400) for a in range(300)]))
    assert all(len(points) == 2 for points in layout.edges)
