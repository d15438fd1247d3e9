"""Where nodes lie in the picture of a run."""

from __future__ import annotations

from dashboard.stories import BEGAN, began, diamond, message, planned, ran

from invariant_dask.ledger.folding import STATES
from invariant_dask.runtime.board import Board
from invariant_dask.runtime.board_picture import COLUMN, NODES, picture, state_of
from invariant_dask.runtime.dashboard_style import COLOURS
from invariant_dask.runtime.dashboard_views import Views


def run_of(*events):
    board = Board(clock=lambda: BEGAN)
    board.receive(message(events))
    return board.latest


def test_each_node_is_right_of_what_it_takes() -> None:
    found = picture(run_of(*diamond()))
    assert not found.by_op
    assert {spot.name for spot in found.spots} == {"src", "left", "right", "end"}
    assert len(found.lines) == 4
    for source, target in found.lines:
        assert found.spots[source].x < found.spots[target].x
    assert len({(spot.x, spot.y) for spot in found.spots}) == 4


def test_many_nodes_of_one_layer_stand_in_several_columns() -> None:
    wide = [planned(f"n{number}", "op") for number in range(10 * COLUMN)]
    found = picture(run_of(*wide, planned("end", "op", [f"n{n}" for n in range(10 * COLUMN)])))
    end = found.spots[-1]
    assert len({(spot.x, spot.y) for spot in found.spots}) == 10 * COLUMN + 1
    assert all(spot.x < end.x for spot in found.spots[:-1])
    assert max(spot.y for spot in found.spots) < COLUMN


def test_large_graph_is_shown_by_op() -> None:
    events = []
    for number in range(NODES):
        events.append(planned(f"a{number}", "load"))
        events.append(planned(f"b{number}", "tone", [f"a{number}"]))
    run = run_of(*events, *ran("a0", "load"))
    found = picture(run)
    assert found.by_op
    assert [spot.name for spot in found.spots] == ["load", "tone"]
    assert found.lines == ((0, 1),)
    assert run.links["load", "tone"] == NODES


def test_op_is_shown_in_the_state_that_matters_most() -> None:
    run = run_of(*diamond())
    shown = {name: state_of(op) for name, op in run.ops.items()}
    assert shown == {
        "io:load": "reused", "photo:tone": "ran", "photo:blur": "failed", "photo:merge": "planned",
    }  # fmt: skip


def test_inputs_in_a_circle_and_of_nowhere_are_drawn_somewhere() -> None:
    run = run_of(
        planned("a", "op", ["b", "a", "ghost"]), planned("b", "op", ["a"]), planned("c", "op")
    )
    found = picture(run)
    assert {spot.name for spot in found.spots} == {"a", "b", "c"}
    assert len(found.lines) == 2


def test_every_state_has_a_colour() -> None:
    assert set(STATES) <= COLOURS.keys()


def test_picture_is_made_again_only_when_the_graph_changes() -> None:
    board = Board()
    board.receive(message([*began(2), planned("a", "op")]))
    views = Views(board)
    first = views.picture(board.latest)
    board.receive(message(ran("a", "op")))
    assert views.picture(board.latest) is first
    board.receive(message([planned("b", "op", ["a"])]))
    assert len(views.picture(board.latest).spots) == 2
