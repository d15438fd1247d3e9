"""Why did this rerun? Each cause there is, asked as a user asks it."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from types import ModuleType

import dask
import pytest
from sample_ops import double, pack, source, total

import invariant_dask
from invariant_dask import (
    Decision,
    DiskStore,
    File,
    Graph,
    MemoryStore,
    OpRegistry,
    Secret,
    cel,
    compile,
    open_store,
    ref,
)
from invariant_dask.plan.explanation import Explanation
from invariant_dask.plan.words import Reason
from invariant_dask.store.keys import SigningKey
from invariant_dask.store.upkeep import collect, list_records, overview


@pytest.fixture
def store(tmp_path: Path) -> DiskStore:
    return DiskStore(tmp_path / "store")


def one(**params: object) -> Graph:
    g = Graph()
    g.add("sum", total, **{"values": (1,), **params})
    return g


def chain(seed: int = 3, **last: object) -> Graph:
    """Four levels, the first of which has the parameter that is changed."""
    g = Graph()
    src = g.add("src", source, seed=seed)
    low = g.add("low", total, values=src)
    mid = g.add("mid", total, values=[low, 1])
    g.add("top", total, values=[mid, 2], **last)
    return g


def ran(graph: Graph, store: object, **options: object) -> None:
    compile(graph, store=store, **options).compute(scheduler="sync")


def explain(graph: Graph, store: object, node: str = "sum", **options: object) -> Explanation:
    return compile(graph, store=store, **options).explain(node)


# --- 1. a parameter ------------------------------------------------------------------


def test_parameter_is_named_with_what_it_was_and_is(store) -> None:
    ran(one(plus=144), store)
    told = explain(one(plus=145), store)
    assert told.decision is Decision.RUN
    assert told.causes == ("parameter plus: 144 -> 145",)
    assert told.op == "t:total"
    assert told.digest == compile(one(plus=145), store=store).digests["sum"]


def test_one_item_of_a_list_is_named_by_its_place(store) -> None:
    ran(one(values=[1, 2, 3]), store)
    assert explain(one(values=[1, 7, 3]), store).causes == ("parameter values[1]: 2 -> 7",)


def test_nearest_record_says_who_made_it_when_and_in_which_run(store) -> None:
    run = compile(one(plus=1), store=store).run(scheduler="sync")
    told = explain(one(plus=2), store)
    assert told.nearest is not None
    assert told.nearest.node == "sum"
    assert told.nearest.run == run.id
    record = store.recent("t:total")[0]
    assert told.nearest.digest == record.resolved.hex()
    assert told.nearest.writer == record.about.writer != ""
    assert told.nearest.when[:4] in str(told)


def test_node_that_is_reused_names_the_record_that_is_used(store) -> None:
    ran(one(), store)
    told = explain(one(), store)
    assert (told.decision, told.reason, told.causes) == (Decision.REUSE, Reason.STORED, ())
    assert told.nearest is not None
    assert told.nearest.digest == told.digest


# --- 2. upstream ---------------------------------------------------------------------


def test_change_three_levels_up_is_named_first_and_the_rest_follows_in_one_line(store) -> None:
    ran(chain(), store)
    told = explain(chain(seed=4), store, "top")
    assert told.causes == ("src: parameter seed: 3 -> 4", "follows from src through low, mid")
    assert told.nearest is not None
    assert told.nearest.node == "top"


def test_own_change_comes_before_one_upstream(store) -> None:
    ran(chain(), store)
    assert explain(chain(seed=4, plus=1), store, "top").causes == (
        "parameter plus: 0 -> 1",
        "src: parameter seed: 3 -> 4",
        "follows from src through low, mid",
    )


def doubled(plus: int) -> Graph:
    g = Graph()
    src = g.add("src", total, values=[1], plus=plus)
    low = g.add("low", double, value=src)
    g.add("mid", double, value=low)
    return g


def test_input_that_was_made_anew_in_another_run_is_followed_to_its_own_change(store) -> None:
    """By now all upstream is stored, so nothing that runs explains it."""
    ran(doubled(1), store)
    compile(doubled(2), outputs=["low"], store=store).compute(scheduler="sync")
    told = explain(doubled(2), store, "mid")
    assert told.causes == ("src: parameter plus: 1 -> 2",)
    assert told.reason is Reason.NOT_STORED


def test_many_roots_are_counted_not_listed(store) -> None:
    def wide(seed: int) -> Graph:
        g = Graph()
        parts = {f"p{n}": g.add(f"src{n}", source, seed=seed + n) for n in range(9)}
        g.add("all", pack, **parts)
        return g

    ran(wide(10), store)
    causes = explain(wide(20), store, "all").causes
    assert causes[0] == "src0: parameter seed: 10 -> 20"
    assert causes[5:] == (
        "and 4 more nodes that changed themselves",
        "follows from src0, src1, src2 and 6 more",
    )


# --- 3. code, 4. version -------------------------------------------------------------


TONE = """
    LIMIT = 3

    def _clip(value):
        return min(value, LIMIT)

    class Curve:
        def at(self, value):
            return value + 1

    def tone(value):
        return Curve().at(_clip(value))
"""


class Ops:
    """A module in a file, which is edited and loaded again."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "tone_ops.py"

    def load(self, *edits: tuple[str, str]) -> ModuleType:
        text = textwrap.dedent(TONE)
        for old, new in edits:
            assert old in text
            text = text.replace(old, new)
        self.file.write_text(text)
        spec = importlib.util.spec_from_file_location("tone_ops", self.file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["tone_ops"] = module
        exec(compile_file(self.file), module.__dict__)
        return module

    def graph(self, *edits: tuple[str, str], **options: object) -> tuple[Graph, OpRegistry]:
        registry = OpRegistry()
        registry.register("ops:tone", self.load(*edits).tone, **options)
        g = Graph()
        g.add("bright", "ops:tone", value=2)
        g.add("sum", "stdlib:add", a=ref("bright"), b=1)
        return g, registry


def compile_file(path: Path) -> object:
    import builtins

    return builtins.compile(path.read_text(), str(path), "exec")


@pytest.fixture
def ops(tmp_path: Path):
    yield Ops(tmp_path)
    sys.modules.pop("tone_ops", None)


def changed(ops: Ops, store: object, *edits: tuple[str, str], node: str = "bright") -> Explanation:
    g, registry = ops.graph()
    ran(g, store, registry=registry)
    g, registry = ops.graph(*edits)
    return explain(g, store, node, registry=registry)


def test_changed_helper_is_named_with_its_file_and_a_diff(ops, store) -> None:
    told = changed(ops, store, ("min(value, LIMIT)", "max(value, LIMIT)"))
    assert told.causes == ("code: helper _clip in tone_ops.py",)
    assert "-    return min(value, LIMIT)\n+    return max(value, LIMIT)" in told.diff
    assert "tone_ops.py (_clip), before" in told.diff
    assert "def tone" not in told.diff
    assert str(ops.file.parent) not in str(told)


@pytest.mark.parametrize(
    ("edit", "cause", "line"),
    [
        (("LIMIT = 3", "LIMIT = 4"), "constant LIMIT in tone_ops.py", "+LIMIT = 4"),
        (("value + 1", "value + 2"), "helper Curve.at in tone_ops.py", "+        return value + 2"),
        (
            ("Curve().at(_clip(value))", "Curve().at(_clip(-value))"),
            "function tone in tone_ops.py",
            "+    return Curve().at(_clip(-value))",
        ),
    ],
    ids=["constant", "method", "the op itself"],
)
def test_changed_part_of_the_code_is_named_for_what_it_is(ops, store, edit, cause, line) -> None:
    told = changed(ops, store, edit)
    assert cause in told.causes[0]
    assert line in told.diff.splitlines()


def test_helper_that_is_not_used_any_more_is_gone(ops, store) -> None:
    told = changed(ops, store, ("Curve().at(_clip(value))", "_clip(value)"))
    (cause,) = told.causes
    assert cause.split(", ") == [
        "code: function tone in tone_ops.py",
        "class Curve in tone_ops.py is gone",
        "helper Curve.at in tone_ops.py is gone",
    ]


def test_what_follows_from_changed_code_shows_the_diff_too(ops, store) -> None:
    told = changed(ops, store, ("min(value", "max(value"), node="sum")
    assert told.causes == (
        "bright: code: helper _clip in tone_ops.py",
        "follows from bright",
    )
    assert "+    return max(value, LIMIT)" in told.diff


def test_plan_says_the_same_of_code_as_explain(ops, store) -> None:
    told = changed(ops, store, ("min(value", "max(value"))
    g, registry = ops.graph(("min(value", "max(value"))
    assert compile(g, store=store, registry=registry).plan()["bright"].causes == told.causes


def test_code_whose_earlier_source_is_gone_says_so(ops, store) -> None:
    g, registry = ops.graph()
    ran(g, store, registry=registry)
    assert store.invalidate("invariant:code") == 1
    g, registry = ops.graph(("min(value", "max(value"))
    told = explain(g, store, "bright", registry=registry)
    assert told.causes == ("code of ops:tone changed; its earlier source is not stored",)
    assert told.diff == ""


def test_no_source_is_kept_where_it_must_not_go_into_stores(ops, store, monkeypatch) -> None:
    monkeypatch.setenv("INVARIANT_KEEP_SOURCE", "off")
    told = changed(ops, store, ("min(value", "max(value"))
    assert store.recent("invariant:code") == []
    assert told.causes == ("code of ops:tone changed; its earlier source is not stored",)


def test_code_of_a_stranger_in_the_store_is_not_believed_in_another_form(ops, store) -> None:
    """Its form is checked, and what a terminal or a page would obey is taken out."""
    g, registry = ops.graph()
    ran(g, store, registry=registry)
    (record,) = store.recent("invariant:code")
    value = store.get(record.resolved)
    parts = [dict(part) for part in value["parts"]]
    for part in parts:
        part["source"] = "\x1b[2J<script>alert(1)</script>\n"
    store.put(record.manifest, {"fingerprint": value["fingerprint"], "parts": parts})
    g, registry = ops.graph(("min(value", "max(value"))
    told = explain(g, store, "bright", registry=registry)
    assert "\\x1b[2J<script>" in told.diff
    assert "\x1b" not in str(told)
    assert "<script>" not in told._repr_html_()
    store.put(record.manifest, {"fingerprint": value["fingerprint"], "parts": "all of it"})
    told = explain(g, store, "bright", registry=registry)
    assert told.causes == ("code of ops:tone changed; its earlier source is not stored",)


def test_code_is_kept_once_and_is_no_record_of_an_op(ops, store) -> None:
    for edits in ([], [("min(value", "max(value")], []):
        g, registry = ops.graph(*edits)
        run = compile(g, store=store, registry=registry).run(scheduler="sync", rerun=["bright"])
        assert run.counts()["ran"] + run.counts()["reused"] + run.counts()["pruned"] == 2
    assert len(store.recent("invariant:code")) == 2
    told = overview(store)
    assert set(told.ops) == {"ops:tone", "stdlib:add"}
    assert told.codes.records == 2
    assert {each.op for each in list_records(store)} == {"ops:tone", "stdlib:add"}


def test_no_op_may_take_the_name_of_codes() -> None:
    with pytest.raises(invariant_dask.errors.RegistrationError, match="keep the code of ops"):
        OpRegistry().register("invariant:code", len, version="1")


def test_code_of_what_ran_on_a_cluster_is_kept(ops, store, cluster, client) -> None:
    g, registry = ops.graph()
    compile(g, store=store, registry=registry).compute(scheduler=client)
    g, registry = ops.graph(("min(value", "max(value"))
    told = explain(g, store, "bright", registry=registry)
    assert told.causes == ("code: helper _clip in tone_ops.py",)


def test_code_of_what_plain_dask_ran_is_kept(ops, store) -> None:
    g, registry = ops.graph()
    dask.compute(compile(g, store=store, registry=registry), scheduler="sync")
    g, registry = ops.graph(("min(value", "max(value"))
    told = explain(g, store, "bright", registry=registry)
    assert told.causes == ("code: helper _clip in tone_ops.py",)


def test_code_of_what_ran_before_a_failure_is_kept(ops, store) -> None:
    def broken(value):
        raise RuntimeError("out of paint")

    def failing(*edits: tuple[str, str]) -> tuple[Graph, OpRegistry]:
        g, registry = ops.graph(*edits)
        registry.register("ops:broken", broken)
        g.add("last", "ops:broken", value=ref("bright"))
        return g, registry

    g, registry = failing()
    with pytest.raises(invariant_dask.errors.OpFailedError):
        ran(g, store, registry=registry)
    g, registry = failing(("min(value", "max(value"))
    told = explain(g, store, "bright", registry=registry)
    assert told.causes == ("code: helper _clip in tone_ops.py",)


def test_declared_version_is_named_and_the_code_behind_it_compared(ops, store) -> None:
    g, registry = ops.graph(version="1")
    ran(g, store, registry=registry)
    g, registry = ops.graph(("min(value", "max(value"), version="2")
    told = explain(g, store, "bright", registry=registry)
    assert told.causes == ("version: 1 -> 2",)
    assert "+    return max(value, LIMIT)" in told.diff


# --- 5. distributions ----------------------------------------------------------------


def test_installed_distribution_is_named_with_both_versions(store, monkeypatch) -> None:
    from importlib import metadata

    def registered() -> OpRegistry:
        registry = OpRegistry()
        registry.register("ops:total", total, requires=("numpy",))
        return registry

    g = Graph()
    g.add("sum", "ops:total", values=(1,))
    ran(g, store, registry=registered())
    known = metadata.version
    monkeypatch.setattr(
        metadata, "version", lambda name: "99.1" if name == "numpy" else known(name)
    )
    told = explain(g, store, registry=registered())
    assert told.causes == (f"distribution numpy: {known('numpy')} -> 99.1",)


# --- 6. expressions, 8. context ------------------------------------------------------


def expressed(expression: str) -> Graph:
    g = Graph()
    g.add("src", total, values=(2, 3))
    g.add("sum", total, values=(1,), plus=cel(expression))
    return g


def test_changed_expression_on_an_artifact_is_named_as_it_is_written(store) -> None:
    ran(expressed("src + 1"), store)
    assert explain(expressed("src + 2"), store).causes == (
        "expression of plus: src + 1 -> src + 2",
    )


def test_changed_expression_on_context_is_named_too_though_its_value_was_known(store) -> None:
    def graph(expression: str) -> Graph:
        return one(plus=cel(expression))

    ran(graph("width * 2"), store, context={"width": 4})
    assert explain(graph("width * 3"), store, context={"width": 4}).causes == (
        "expression of plus: width * 2 -> width * 3",
    )
    assert explain(graph("width * 2"), store, context={"width": 5}).causes == (
        "parameter plus, from context width: 8 -> 10",
    )


def test_changed_text_with_an_expression_is_named(store) -> None:
    def graph(text: str) -> Graph:
        g = Graph()
        g.add("words", "stdlib:split", text=text)
        return g

    ran(graph("a ${name}"), store, context={"name": "b"})
    assert explain(graph("an ${name}"), store, "words", context={"name": "b"}).causes == (
        "expression of text: a ${name} -> an ${name}",
    )


def test_context_value_is_named(store) -> None:
    g = one(plus=ref("width"))
    ran(g, store, context={"width": 4})
    assert explain(g, store, context={"width": 5}).causes == ("context width: 4 -> 5",)


def test_secret_is_named_and_nothing_of_it_is_shown(store) -> None:
    g = Graph()
    g.add("words", "stdlib:split", text=ref("token"))
    ran(g, store, context={"token": Secret("hunter one")})
    told = explain(g, store, "words", context={"token": Secret("hunter two")})
    assert told.causes == ("context token: another value; it is a secret",)
    open_now = explain(g, store, "words", context={"token": "plain"})
    assert open_now.causes == ("context token: a value kept as a hash -> 'plain'",)
    for each in (told, open_now):
        assert "hunter" not in f"{each}{each._repr_html_()}{each.as_dict()}"
        assert "#" not in str(each)


# --- 7. files ------------------------------------------------------------------------


def test_content_of_an_input_file_is_named(store, tmp_path) -> None:
    def size(photo):
        return len(photo.read_bytes())

    registry = OpRegistry()
    registry.register("ops:size", size)
    photo = tmp_path / "a.jpg"
    g = Graph()
    g.add("size", "ops:size", photo=File(photo))
    photo.write_bytes(b"before")
    ran(g, store, registry=registry)
    photo.write_bytes(b"and after")
    (cause,) = explain(g, store, "size", registry=registry).causes
    assert cause.startswith("content of file a.jpg (parameter photo): <file of 6 bytes #")
    assert " -> <file of 9 bytes #" in cause
    assert str(tmp_path) not in cause


# --- 9. never seen -------------------------------------------------------------------


def test_node_that_was_never_seen_says_so(store) -> None:
    told = explain(chain(), store, "top")
    assert (told.causes, told.nearest) == (("never seen",), None)


# --- 10. evicted or lost -------------------------------------------------------------


def test_artifact_that_a_collection_removed_was_evicted(store) -> None:
    ran(chain(), store)
    assert collect(store, max_size=1, grace=0).count("record")
    fresh = open_store(store.url)
    for node in ("src", "top"):
        first = explain(chain(), fresh, node).causes[0]
        assert first.startswith("evicted: removed 20")


def test_artifact_that_memory_had_no_room_for_was_evicted() -> None:
    store = MemoryStore(max_size=2)
    ran(one(plus=1), store)
    for plus in range(2, 5):
        ran(one(plus=plus), store)
    assert explain(one(plus=1), store).causes[0].startswith("evicted: there was no room left")


def test_artifact_whose_blob_is_gone_was_lost(store, tmp_path) -> None:
    g = Graph()
    g.add("numbers", "stdlib:identity", value=b"x" * 50_000)
    ran(g, store)
    for file in (tmp_path / "store" / "blobs").rglob("*"):
        if file.is_file():
            file.unlink()
    (cause,) = explain(g, open_store(store.url), "numbers").causes
    assert cause.startswith("lost: blob ")


# --- 11. untrusted, quarantined ------------------------------------------------------


def test_unsigned_artifact_is_untrusted(store) -> None:
    ran(one(), store)
    stranger = SigningKey("stranger", os.urandom(32)).public
    reader = open_store(store.url, trust="signed", trusted_keys=[stranger])
    (cause,) = explain(one(), reader).causes
    assert cause.startswith("untrusted: ")


def test_damaged_artifact_is_set_aside_and_that_is_why(store) -> None:
    import sqlite3

    ran(one(), store)
    store.close()
    (index,) = Path(store.url.removeprefix("file://")).glob("*.sqlite")
    with sqlite3.connect(index) as sql:
        sql.execute("UPDATE entries SET data = CAST(substr(data, 1, 100) AS BLOB)")
    sql.close()
    (cause,) = explain(one(), open_store(store.url)).causes
    assert cause.startswith("damaged: ")


# --- 12. asked for, ephemeral, volatile ----------------------------------------------


def test_forced_node_was_asked_for_and_the_rest_follows(store) -> None:
    ran(chain(), store)
    compiled = compile(chain(), store=store)
    assert compiled.explain("low", rerun=["low"]).causes == ("asked to rerun",)
    told = compile(chain(plus=1), store=store).explain("top", rerun=["mid"])
    assert told.causes == ("parameter plus: 0 -> 1", "mid: asked to rerun", "follows from mid")


def test_ephemeral_node_is_not_cached_and_what_is_made_from_it_follows(store) -> None:
    g = Graph()
    src = g.add("src", source, seed=3, cache=False)
    g.add("sum", total, values=src)
    ran(g, store)
    assert explain(g, store, "src").causes == ("not cached",)
    assert explain(g, store, "sum").causes == ("src: not cached", "follows from src")


def test_volatile_node_runs_every_time(store) -> None:
    g = Graph()
    g.add("src", source, seed=3, cache="volatile")
    ran(g, store)
    told = explain(g, store, "src")
    assert told.reason is Reason.VOLATILE
    assert told.causes == ("volatile: it runs every time",)


# --- whoever asks --------------------------------------------------------------------


def test_unknown_node_is_an_error_that_names_it(store) -> None:
    with pytest.raises(invariant_dask.errors.OutputsError, match="'sun' is not a node"):
        explain(one(), store, "sun")


def test_hostile_names_are_escaped(store) -> None:
    g = Graph()
    g.add("x<b>", total, values=(1,), plus=0)
    ran(g, store)
    g = Graph()
    g.add("x<b>", total, values=("<i>",), plus=0)
    shown = explain(g, store, "x<b>")._repr_html_()
    assert "x<b>" not in shown
    assert "<i>" not in shown
    assert "&lt;i&gt;" in shown


GRAPH = """
from invariant_dask import Graph, op
from tools import scale

@op
def scaled(value, by=2):
    return scale(value, by)

g = Graph("demo")
five = g.add("five", "stdlib:add", a=2, b=3)
out = g.add("out", scaled, value=five)
g.add("end", "stdlib:add", a=out, b=1)
"""


def cli(folder: Path, *arguments: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "invariant_dask", *arguments],
        cwd=folder, capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, "NO_COLOR": "1"},
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def test_command_line_names_the_helper_from_the_store_of_another_process(tmp_path) -> None:
    (tmp_path / "paint.py").write_text(GRAPH)
    (tmp_path / "tools.py").write_text("def scale(value, by):\n    return value * by\n")
    cli(tmp_path, "run", "paint.py:g")
    (tmp_path / "tools.py").write_text("def scale(value, by):\n    return value * by * by\n")
    told = cli(tmp_path, "explain", "paint.py:g", "end").splitlines()
    assert told[:3] == [
        "end: run, an input runs",
        "  out: code: helper scale in tools.py",
        "  follows from out",
    ]
    assert "-    return value * by" in told
    assert "+    return value * by * by" in told
    as_json = json.loads(cli(tmp_path, "explain", "paint.py:g", "out", "--json"))
    assert as_json["causes"] == ["code: helper scale in tools.py"]
    assert (as_json["decision"], as_json["reason"]) == ("run", "not stored")
    assert as_json["nearest"]["node"] == "out"
    forced = cli(tmp_path, "explain", "paint.py:g", "five", "--rerun", "five")
    assert "asked to rerun" in forced
    assert "'nobody' is not a node" in cli(tmp_path, "explain", "paint.py:g", "nobody", code=2)
