"""What plans and runs say of switches that take a run to decide, and of work that is shared."""

from __future__ import annotations

import json

import pytest
from sample_ops import total

from invariant_dask import Graph, MemoryStore, SwitchNode, cel, compile
from invariant_dask.cli.show import plan_as_json, show_run
from invariant_dask.plan.plan import Decision, Reason


def switched() -> Graph:
    g = Graph()
    size = g.add("size", total, values=[6, 4])
    half = g.add("half", total, values=[size])
    g.add("wide", total, values=[half], plus=1)
    g["shape"] = SwitchNode(cel("size > 5"), cases={"true": "wide", "false": "half"})
    g.add("label", total, values=[size], plus=7)
    side = g.add("side", total, values=[9])
    g.add("end", total, values=[side], plus=cel("shape"))
    return g


OUTPUTS = ["label", "shape", "end"]


def test_plan_lists_outputs_that_surely_run_and_what_a_run_decides() -> None:
    plan = compile(switched(), OUTPUTS, store=MemoryStore()).plan()
    decided = {node.node: node.decision for node in plan.nodes()}
    assert decided == {
        "size": Decision.RUN, "label": Decision.RUN, "side": Decision.PRUNED,
    }  # fmt: skip
    assert plan["side"].reason is Reason.UNDECIDED
    assert plan.undecided == {"shape": ("size",), "end": ("shape",)}
    assert "shape: decided once size is known" in str(plan)
    assert "shape: decided once size is known" in plan._repr_html_()
    assert plan.summary() == "2 to run, 0 reused, 1 not looked at, 2 undecided"
    written = json.loads(json.dumps(plan_as_json(plan)))
    assert written["undecided"][0] == {"node": "shape", "waits_for": ["size"]}
    assert written["counts"]["undecided"] == 2


def test_plan_is_whole_once_the_selector_is_stored() -> None:
    store = MemoryStore()
    compile(switched(), ["size"], store=store).compute(scheduler="sync")
    plan = compile(switched(), OUTPUTS, store=store).plan()
    assert not plan.undecided
    assert plan["end"].decision is Decision.RUN


def test_run_tells_what_ran_before_a_switch_was_decided(capsys) -> None:
    store = MemoryStore()
    run = compile(switched(), OUTPUTS, store=store).run(scheduler="sync")
    assert {node.node for node in run.planned()} == {*run.ran()}
    assert "size" in run.ran()
    show_run(run)
    printed = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("ran ") for line in printed) == run.counts()["ran"] == 6
    assert sum(line.startswith("shared ") for line in printed) == run.counts()["shared"] == 1

    again = compile(switched(), OUTPUTS, store=store).run(scheduler="sync", rerun=["size"])
    assert [node.node for node in again.planned()] == ["size"]
    assert again.counts() == {"ran": 1, "shared": 0, "reused": 4, "pruned": 2}
    show_run(again)
    assert "ran size: asked to rerun" in capsys.readouterr().out


@pytest.fixture
def twice() -> Graph:
    g = Graph()
    a, b = (g.add(name, total, values=[100]) for name in "ab")
    g.add("t", total, values=[a, b])
    return g


def test_equal_nodes_count_as_one_execution_and_a_shared_one(twice, calls, capsys) -> None:
    compiled = compile(twice, store=MemoryStore())
    plan = compiled.plan()
    assert plan.summary() == "2 to run, 1 shared, 0 reused, 0 not looked at"
    assert plan["b"].shares == "a"
    assert plan["b"].causes == ("the same work as a",)
    assert plan_as_json(plan)["counts"]["shared"] == 1
    run = compiled.run(scheduler="sync")
    assert len(calls) == run.counts()["ran"] == 2
    assert run.ran() == ["a", "b", "t"]
    assert run.summary() == "2 ran, 1 shared, 0 reused, 0 not looked at"
    show_run(run)
    assert "shared b: the same work as a" in capsys.readouterr().out
