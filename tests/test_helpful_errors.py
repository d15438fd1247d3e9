"""What is wrong is said with its cure: options, outputs, registries, stores, expressions."""

from __future__ import annotations

import logging
import subprocess
import sys
from fractions import Fraction

import invariant
import pytest
from sample_ops import total

from invariant_dask import Graph, MemoryStore, Node, OpRegistry, SubGraphNode, cel, compile, ref
from invariant_dask.errors import (
    DanglingRefError,
    GraphError,
    OpError,
    OptionError,
    OutputsError,
    SchedulerError,
    SpecError,
)
from invariant_dask.graph.documents import load_document


@pytest.fixture
def stored():
    """A graph that is stored already, so that nothing has to run."""
    g = Graph()
    g.add("sum", total, values=[1, 2])
    compiled = compile(g, store=MemoryStore())
    compiled.compute(scheduler="sync")
    return compiled


def test_mistyped_option_is_refused_with_the_one_that_was_meant(stored) -> None:
    with pytest.raises(OptionError, match="no option 'schedulr'; did you mean 'scheduler'"):
        stored.compute(schedulr="threads")
    with pytest.raises(TypeError, match="num_workers"):
        stored.run(scheduler="threads", numworkers=2)
    assert stored.compute(scheduler="threads", num_workers=1) == 3


def test_get_of_the_users_takes_what_it_likes(stored) -> None:
    import dask

    assert stored.compute(scheduler=dask.get, colour="red") == 3


def test_unknown_scheduler_is_refused_although_nothing_has_to_run(stored) -> None:
    with pytest.raises(SchedulerError, match=r"no scheduler 'bogus'; there are .*threads"):
        stored.compute(scheduler="bogus")


def test_inner_node_cannot_be_an_output_and_the_message_says_what_can() -> None:
    inner = {"twice": Node("stdlib:add", {"a": ref("n"), "b": ref("n")})}
    g = {"wide": SubGraphNode({"n": 2}, graph=inner, output="twice")}
    with pytest.raises(OutputsError, match="ask for 'wide', which gives its 'twice'"):
        compile(g, ["wide/twice"], store=MemoryStore())


def test_complaining_node_is_not_offered_as_what_it_might_mean() -> None:
    g = {"a": Node("stdlib:identity", {"value": ref("b")}), "c": Node("stdlib:make_list", {})}
    with pytest.raises(DanglingRefError) as caught:
        compile(g, ["a"], store=MemoryStore())
    assert caught.value.known == ("c",)
    assert "there is only 'c'" in str(caught.value)


def test_document_and_python_agree_on_deps() -> None:
    node = '{"kind": "node", "op_name": "stdlib:identity", "params": {"value": {"$ref": "a"}}%s}'
    text = '{"format": "invariant-graph", "version": 1,\n "graph": {"b": ' + node + "}}"
    with pytest.raises(GraphError, match="needs the field 'deps'"):
        load_document(text % "")
    with pytest.raises(GraphError, match=r"not among its deps \[\]; add it \(where a graph is wr"):
        load_document(text % ', "deps": []')


def test_expression_on_a_fraction_names_its_type_and_a_way_out() -> None:
    g = Graph()
    g.add("x", "stdlib:identity", value=cel("q * 3"))
    with pytest.raises(GraphError, match=r"there is no Fraction \* int; .* work on it in an op"):
        compile(g, context={"q": Fraction(1, 3)}, store=MemoryStore())


def test_failure_without_retries_is_told_once(caplog) -> None:
    def boom():
        raise ValueError("out of paint")

    registry = OpRegistry()
    registry.register("h:boom", boom, version="1")
    for retries, lines in ((0, 0), (2, 2)):
        caplog.clear()
        g = {"x": Node("h:boom", {}, retries=retries)}
        with caplog.at_level(logging.WARNING), pytest.raises(OpError):
            compile(g, store=MemoryStore(), registry=registry).compute(scheduler="sync")
        told = [record.getMessage() for record in caplog.records]
        assert len(told) == lines
    assert told[-1] == "node 'x': attempt 2 of 3 failed: out of paint"


# --- the other package's objects ---


def shout(text, mark="!"):
    return text.upper() + mark


@pytest.fixture
def theirs():
    registry = invariant.OpRegistry()  # a singleton, as it is over there
    registry.clear()
    registry.auto_discover()
    registry.register("h:shout", shout)
    yield registry
    registry.clear()


def test_registry_of_invariant_is_taken_as_it_is(theirs) -> None:
    g = Graph()
    words = g.add("words", "h:shout", text="paint")
    g.add("all", "stdlib:make_list", items=[words])
    assert compile(g, store=MemoryStore(), registry=theirs).compute() == ["PAINT!"]
    theirs.register("h:late", shout)
    late = {"x": Node("h:late", {"text": "a"})}
    assert compile(late, store=MemoryStore(), registry=theirs).compute() == "A!"
    with pytest.raises(SpecError, match="no op named 'h:shot'"):
        compile({"x": Node("h:shot", {})}, store=MemoryStore(), registry=theirs)


def test_same_op_has_the_same_digest_through_either_registry(theirs) -> None:
    ours = OpRegistry()
    ours.register("h:shout", shout)
    g = {
        "x": Node("h:shout", {"text": "a"}),
        "p": Node("poly:from_coefficients", {"coefficients": [1]}),
    }
    one, other = (compile(g, store=MemoryStore(), registry=r) for r in (ours, theirs))
    assert one.digests == other.digests


def test_what_is_no_registry_is_refused() -> None:
    with pytest.raises(SpecError, match="registry is of type dict; pass an OpRegistry"):
        compile({"x": Node("h:x", {})}, store=MemoryStore(), registry={"h:x": shout})


def test_invariant_is_not_imported_to_find_out() -> None:
    code = (
        "import sys\nfrom invariant_dask import *\nfrom invariant_dask.errors import SpecError\n"
        "try:\n    compile({'x': Node('stdlib:make_list', {})}, store='memory:', registry=1)\n"
        "except SpecError:\n    print('invariant' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_store_of_invariant_is_refused_by_name() -> None:
    from invariant.store.memory import MemoryStore as Theirs

    with pytest.raises(SpecError, match="MemoryStore is a store of the package invariant"):
        compile({"x": Node("stdlib:make_list", {})}, store=Theirs())
