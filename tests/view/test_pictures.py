"""What a picture says of a graph: its nodes, their states, its edges, its subgraphs."""

from __future__ import annotations

from collections import Counter

import pytest
import sample_ops

from invariant_dask import (
    Graph,
    MemoryStore,
    Node,
    OpRegistry,
    Secret,
    SubGraphNode,
    SwitchNode,
    cel,
    compile,
    ref,
)
from invariant_dask.errors import OpFailedError, PictureError
from invariant_dask.view.drawing import Drawing
from invariant_dask.view.marking import Course, picture_of
from invariant_dask.view.picture import EdgeKind, Kind, Picture
from invariant_dask.view.states import DARK, LIGHT, State


def states(drawing: Drawing) -> dict[str, State]:
    return {node.name: node.state for node in drawing.picture.nodes}


def edges(picture: Picture) -> dict[tuple[str, str], EdgeKind]:
    names = [node.name for node in picture.nodes]
    return {(names[edge.source], names[edge.target]): edge.kind for edge in picture.edges}


def notes(drawing: Drawing, name: str) -> tuple[str, ...]:
    return next(node.notes for node in drawing.picture.nodes if node.name == name)


def chain(plus: int = 0) -> Graph:
    g = Graph("chain")
    src = g.add("src", sample_ops.source, seed=4)
    total = g.add("total", sample_ops.total, values=src, plus=plus)
    g.add("twice", sample_ops.double, value=total)
    return g


def decided_late() -> Graph:
    """A switch on an artifact; one of its cases needs a node that nothing else does."""
    g = Graph("late")
    total = g.add("total", sample_ops.total, values=[1, 2])
    g.add("parity", sample_ops.parity, value=total)
    g.add("odd", sample_ops.double, value=total)
    g.add("before", sample_ops.source, seed=3)
    g.add("even", sample_ops.total, values=ref("before"))
    g["pick"] = SwitchNode(ref("parity"), cases={"1": "odd", "0": "even"})
    g.add("end", sample_ops.double, value=ref("pick"))
    return g


def test_a_plan_is_drawn_with_what_runs_and_what_is_reused_and_what_is_not_looked_at() -> None:
    store = MemoryStore()
    new = compile(chain(), store=store)
    assert set(states(new.visualize()).values()) == {State.TO_RUN}
    new.compute(scheduler="sync")
    assert states(new.visualize()) == {
        "src": State.PRUNED, "total": State.PRUNED, "twice": State.REUSED,
    }  # fmt: skip
    changed = compile(chain(plus=1), store=store).visualize()
    assert states(changed) == {
        "src": State.REUSED, "total": State.TO_RUN, "twice": State.TO_RUN,
    }  # fmt: skip
    assert "parameter plus: 0 -> 1" in notes(changed, "total")
    assert states(new.visualize(rerun=["twice"]))["twice"] is State.TO_RUN


def test_a_run_is_drawn_with_what_ran_and_what_came_out_the_same() -> None:
    store = MemoryStore()
    compile(chain(), store=store).compute(scheduler="sync")
    g = Graph("other way")  # another first step, with the same artifact
    src = g.add("src", "stdlib:identity", value=[0, 1, 2, 3], cache="volatile")
    total = g.add("total", sample_ops.total, values=src)
    g.add("twice", sample_ops.double, value=total)
    run = compile(g, store=store).run(scheduler="sync")
    drawing = run.visualize()
    assert states(drawing) == {"src": State.RAN, "total": State.REUSED, "twice": State.REUSED}
    assert "its inputs came out the same" in notes(drawing, "twice")
    assert any(note.startswith("took ") for note in notes(drawing, "src"))
    assert run.summary() in drawing.picture.summary


def test_equal_nodes_share_the_work_of_the_first() -> None:
    g = Graph()
    g.add("one", sample_ops.source, seed=2)
    g.add("two", sample_ops.source, seed=2)
    g.add("both", sample_ops.pack, a=ref("one"), b=ref("two"))
    compiled = compile(g, store=MemoryStore())
    drawing = compiled.visualize()
    assert states(drawing) == {"one": State.TO_RUN, "two": State.SHARED, "both": State.TO_RUN}
    assert "the same work as one" in notes(drawing, "two")
    assert states(compiled.run(scheduler="sync").visualize())["two"] is State.SHARED


def test_inline_nodes_are_told_apart() -> None:
    g = Graph()
    g.add("known", "stdlib:identity", value=3)
    g.add("used", sample_ops.double, value=ref("known"))
    assert states(compile(g, store=MemoryStore()).visualize())["known"] is State.INLINE


def test_after_a_failure_it_is_seen_what_failed_and_what_was_skipped_and_what_is_there() -> None:
    g = chain()
    g.add("broken", sample_ops.fail, value=ref("total"), message="<no> & never")
    g.add("behind", sample_ops.double, value=ref("broken"))
    compiled = compile(g, ["behind", "twice"], store=MemoryStore())
    with pytest.raises(OpFailedError) as caught:
        compiled.run(scheduler="sync")
    drawing = compiled.visualize(error=caught.value)
    found = states(drawing)
    assert found["broken"] is State.FAILED
    assert found["behind"] is State.SKIPPED
    assert State.REUSED in {found["total"], found["src"]}
    assert "ValueError: <no> & never" in notes(drawing, "broken")


def test_a_failure_of_an_ephemeral_node_is_found_by_its_id() -> None:
    g = Graph()
    g.add("broken", sample_ops.fail, value=1, cache=False)
    compiled = compile(g, store=MemoryStore())
    with pytest.raises(OpFailedError) as caught:
        compiled.run(scheduler="sync")
    assert caught.value.digest != compiled.digests["broken"]
    assert states(compiled.visualize(error=caught.value)) == {"broken": State.FAILED}


def test_what_is_running_can_be_told_by_digest() -> None:
    compiled = compile(chain(), store=MemoryStore())
    course = Course(running={compiled.digests["src"]})
    picture = picture_of(compiled.plan(), course)
    assert [node.state for node in picture.nodes] == [State.RUNNING, State.TO_RUN, State.TO_RUN]


def test_an_undecided_switch_has_its_cases_as_ghosts() -> None:
    drawing = compile(decided_late(), store=MemoryStore()).visualize()
    found, lines = states(drawing), edges(drawing.picture)
    ghosts = {name for name, state in found.items() if state is State.UNDECIDED}
    assert ghosts == {"odd", "before", "even", "pick", "end"}
    assert found["total"] is found["parity"] is State.TO_RUN
    assert lines["parity", "pick"] is EdgeKind.DATA
    assert lines["odd", "pick"] is lines["even", "pick"] is EdgeKind.GHOST
    assert lines["pick", "end"] is EdgeKind.GHOST
    assert notes(drawing, "pick") == ("decided once parity is known",)


def test_a_decided_switch_has_what_it_took_and_a_ghost_of_what_it_did_not_take() -> None:
    compiled = compile(decided_late(), store=MemoryStore())
    drawing = compiled.run(scheduler="sync").visualize()
    found, lines = states(drawing), edges(drawing.picture)
    assert found["pick"] is found["odd"] is found["end"] is State.RAN
    assert found["even"] is State.NOT_TAKEN
    assert "before" not in found
    assert lines["odd", "pick"] is EdgeKind.DATA
    assert lines["even", "pick"] is EdgeKind.GHOST
    # The store knows by now how it is decided.
    assert states(compiled.visualize())["even"] is State.NOT_TAKEN


def test_a_case_that_could_not_even_be_compiled_is_drawn() -> None:
    g = Graph()
    g.add("one", sample_ops.source, seed=1)
    g["bad"] = Node("t:no-such-op", {"x": ref("nowhere"), "again": ref("pick")})
    g["pick"] = SwitchNode(cel("n > 1"), cases={"true": "bad", "false": "one"})
    assert states(compile(g, ["pick"], {"n": 1}, store=MemoryStore()).visualize()) == {
        "one": State.TO_RUN, "pick": State.TO_RUN, "bad": State.NOT_TAKEN,
    }  # fmt: skip


def test_a_case_that_leads_back_to_its_switch_does_not_hang() -> None:
    g = Graph()
    g.add("n", sample_ops.total, values=[1])
    g.add("round", sample_ops.double, value=ref("pick"))
    g["pick"] = SwitchNode(ref("n"), cases={"1": "n", "2": "round"})
    drawing = compile(g, ["pick"], store=MemoryStore()).visualize()
    assert states(drawing)["round"] is State.UNDECIDED
    assert edges(drawing.picture)["pick", "round"] is EdgeKind.GHOST
    assert drawing.svg()


def nested() -> Graph:
    g = Graph("nested")
    g.add("a", sample_ops.source, seed=3)
    g.add("first", sample_ops.source, seed=9)
    inner = {"z": Node("t:double", {"value": ref("y")})}
    outer = {
        "sum": Node("t:total", {"values": ref("x")}),
        "deep": SubGraphNode({"y": ref("sum")}, graph=inner, output="z"),
    }
    g["box"] = SubGraphNode({"x": ref("a")}, deps=["a", "first"], graph=outer, output="deep")
    g.add("end", sample_ops.double, value=ref("box"))
    return g


def test_subgraphs_are_clusters_and_edges_go_through_their_parameters() -> None:
    picture = compile(nested(), store=MemoryStore()).visualize().picture
    assert [(c.name, c.label, c.parent) for c in picture.clusters] == [
        ("box", "box", None), ("box/deep", "deep", 0),
    ]  # fmt: skip
    assert {node.name: node.cluster for node in picture.nodes} == {
        "a": None, "first": None, "end": None, "box/sum": 0, "box/deep/z": 1,
    }  # fmt: skip
    assert edges(picture) == {
        ("a", "box/sum"): EdgeKind.DATA,
        ("first", "box/sum"): EdgeKind.ORDER,
        ("box/sum", "box/deep/z"): EdgeKind.DATA,
        ("box/deep/z", "end"): EdgeKind.DATA,
    }


def test_order_without_data_is_an_edge_of_its_own_kind() -> None:
    g = chain()
    g.add("late", sample_ops.double, value=2, deps=["twice"])
    inside = {"x": Node("t:double", {"value": 3})}
    g["box"] = SubGraphNode(deps=["src"], graph=inside, output="x")
    found = edges(compile(g, ["late", "box"], store=MemoryStore()).visualize().picture)
    assert found["twice", "late"] is EdgeKind.ORDER
    assert found["src", "box/x"] is EdgeKind.ORDER
    assert found["src", "total"] is EdgeKind.DATA


def test_outputs_are_marked_and_a_subgraph_is_marked_where_it_comes_from() -> None:
    picture = compile(nested(), ["box", "a"], store=MemoryStore()).visualize().picture
    assert {node.name for node in picture.nodes if node.is_output} == {"box/deep/z", "a"}


def test_subgraphs_deeper_than_the_stack_are_drawn() -> None:
    vertex = Node("t:double", {"value": 1})
    for _ in range(1500):
        vertex = SubGraphNode(graph={"in": vertex}, output="in")
    drawing = compile({"in": vertex}, store=MemoryStore()).visualize()
    [node] = drawing.picture.nodes
    assert node.name.count("/") == 1500
    assert len(drawing.picture.clusters) == 12
    assert drawing.svg()
    assert drawing.dot()


def test_subgraphs_that_nobody_compiled_are_one_ghost_each() -> None:
    vertex = Node("t:double", {"value": 1})
    for _ in range(40):  # as a whole that would be 2**40 nodes
        vertex = SubGraphNode(
            graph={"a": vertex, "b": vertex, "sum": Node("t:pack", {"a": ref("a"), "b": ref("b")})},
            output="sum",
        )
    g = Graph()
    g.add("n", sample_ops.total, values=[1])
    g["huge"] = vertex
    g["pick"] = SwitchNode("1", cases={"1": "n", "2": "huge"})
    drawing = compile(g, ["pick"], store=MemoryStore()).visualize()
    assert {node.name: node.kind for node in drawing.picture.nodes} == {
        "n": Kind.NODE, "pick": Kind.SWITCH, "huge": Kind.SUBGRAPH,
    }  # fmt: skip


def test_equal_graphs_give_equal_bytes_however_they_are_sorted() -> None:
    def drawn(graph: Graph) -> list[str]:
        turned = dict(reversed(list(graph.items())))
        drawings = [
            compile(each, store=MemoryStore()).visualize() for each in (dict(graph), turned)
        ]
        return [each.dot() + each.svg() + each.html() for each in drawings]

    for graph in (chain(), nested(), decided_late()):
        one, other = drawn(graph)
        assert one == other


def test_what_is_drawn_is_what_was_compiled_though_the_dict_was_changed_since() -> None:
    graph = dict(chain())
    compiled = compile(graph, store=MemoryStore())
    graph["twice"] = Node("t:double", {"value": 1})
    assert set(states(compiled.visualize())) == {"src", "total", "twice"}


def test_secrets_and_parameters_are_in_no_picture() -> None:
    g = Graph()
    g.add("uses", "stdlib:make_list", items=[ref("key"), "a literal"])
    g.add("shown", sample_ops.pack, what=ref("uses"))
    context = {"key": Secret("hunter2 of the night")}
    store = MemoryStore()
    compile(g, None, {"key": Secret("the one before")}, store=store).compute(scheduler="sync")
    compiled = compile(g, None, context, store=store)
    for drawing in (compiled.visualize(), compiled.run(scheduler="sync").visualize()):
        everything = drawing.dot() + drawing.svg() + drawing.html()
        assert "hunter2" not in everything
        assert "the one before" not in everything


def test_every_state_has_words_of_its_own_and_a_colour_in_each_theme() -> None:
    assert len({state.word for state in State}) == len(State)
    for paints in (LIGHT, DARK):
        assert paints.keys() == set(State)
        assert len(set(paints.values())) == len(State)


def test_unknown_levels_of_detail_are_refused() -> None:
    with pytest.raises(PictureError, match="no detail 'all'; there are auto, nodes, ops"):
        compile(chain(), store=MemoryStore()).visualize(detail="all")


def wide(lanes: int, ops: int = 3) -> Graph:
    """Lanes of a few ops each, and one node at the end."""
    g = Graph("wide")
    ends = []
    for lane in range(lanes):
        at = g.add(f"{lane}/0", sample_ops.source, seed=lane)
        for step in range(1, ops):
            at = g.add(f"{lane}/{step}", sample_ops.double, value=at)
        ends.append(at)
    g.add("end", sample_ops.pack, parts=ends)
    return g


def test_more_than_500_nodes_are_drawn_as_groups_by_op_with_their_states() -> None:
    store = MemoryStore()
    compile(wide(100), store=store).compute(scheduler="sync")
    drawing = compile(wide(250), store=store).visualize()
    assert [(node.name, node.counts) for node in drawing.picture.nodes] == [
        ("t:source", {State.TO_RUN: 150, State.PRUNED: 100}),
        ("t:double", {State.TO_RUN: 150, State.PRUNED: 100}),
        ("t:double", {State.TO_RUN: 150, State.REUSED: 100}),
        ("end", {}),
    ]
    assert [edge.weight for edge in drawing.picture.edges] == [250, 250, 250]
    assert "751 nodes, drawn as 4 groups by op" in drawing.picture.remarks
    assert "751 nodes" in drawing.dot()


def test_every_node_is_drawn_if_asked_for_and_groups_if_asked_for() -> None:
    compiled = compile(wide(250), store=MemoryStore())
    assert len(compiled.visualize(detail="nodes").picture.nodes) == 751
    small = compile(wide(5), store=MemoryStore())
    assert len(small.visualize().picture.nodes) == 16
    assert len(small.visualize(detail="ops").picture.nodes) == 4


def test_groups_stay_few_however_the_nodes_hang_together() -> None:
    """A long chain of one op, and many ops: too many groups are taken together."""
    g = Graph()
    at = g.add("0", sample_ops.source, seed=1)
    for number in range(1, 600):
        at = g.add(str(number), sample_ops.pack, value=at)
    long = compile(g, store=MemoryStore()).visualize().picture
    assert [node.name for node in long.nodes] == ["0", "t:pack"]
    registry = OpRegistry()
    many = Graph()
    for number in range(700):
        registry.register(f"many:{number}", sample_ops.double, version="1")
        many.add(str(number), f"many:{number}", value=number)
    picture = compile(many, store=MemoryStore(), registry=registry).visualize().picture
    assert len(picture.nodes) == 120
    assert Counter(node.size for node in picture.nodes)[581] == 1
