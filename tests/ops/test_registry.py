"""Ops by name: what may take which name, and what @op makes of a function."""

from __future__ import annotations

import functools
import importlib
import pickle
import sys
import threading
import types

import cloudpickle
import pytest

from invariant_dask.errors import RegistrationError, UnknownOpError
from invariant_dask.graph.model import Node, ref
from invariant_dask.ops import OpRegistry, default_registry, op


@pytest.fixture
def ops():
    return OpRegistry(stdlib=False)


def double(number):
    return 2 * number


def triple(number):
    return 3 * number


def test_what_is_registered_is_found(ops):
    entry = ops.register("math:double", double, version="1", inline=True)
    assert ops.get("math:double") is entry
    assert entry.function is double
    assert entry.inline
    assert ops.has("math:double")
    assert "math:double" in ops
    assert list(ops) == ["math:double"]
    assert len(ops) == 1
    assert ops.names() == ("math:double",)
    assert "math: 1" in repr(ops)


def test_an_unknown_name_is_answered_with_close_ones(ops):
    ops.register("math:double", double)
    with pytest.raises(UnknownOpError, match="did you mean 'math:double'"):
        ops.get("math:duble")
    assert not ops.has("math:duble")


def test_a_name_that_was_only_begun_is_answered_with_those_that_begin_so(ops):
    for name in ("math:multiply", "math:max", "math:null", "math:multiply_all"):
        ops.register(name, double)
    said = "did you mean 'math:multiply' or 'math:multiply_all' or"
    with pytest.raises(UnknownOpError, match=said):
        ops.get("math:mul")


def test_another_function_cannot_take_a_name_by_accident(ops):
    ops.register("math:f", double)
    with pytest.raises(RegistrationError, match=r"already registered by .*double.*replace=True"):
        ops.register("math:f", triple)
    assert ops.get("math:f").function is double
    ops.register("math:f", triple, replace=True)
    assert ops.get("math:f").function is triple


def test_the_same_function_may_be_registered_again_with_other_options(ops):
    ops.register("math:f", double)
    ops.register("math:f", double, version="2")
    assert ops.get("math:f").version == "2"


def test_a_reloaded_module_replaces_its_ops(ops, tmp_path, monkeypatch):
    path = tmp_path / "reloaded_ops.py"
    path.write_text("def shade(x):\n    return x\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    module = importlib.import_module("reloaded_ops")
    ops.register("t:shade", module.shade)
    path.write_text("def shade(x, y=1):\n    return x + y\n")
    importlib.reload(module)
    ops.register("t:shade", module.shade)
    assert ops.get("t:shade").function is module.shade
    assert ops.get("t:shade").signature.names == {"x", "y"}
    del sys.modules["reloaded_ops"]


def test_two_closures_of_one_maker_are_two_functions(ops):
    def make(n):
        return lambda x: x + n

    ops.register("t:add", make(1))
    with pytest.raises(RegistrationError, match="already registered"):
        ops.register("t:add", make(2))


def test_a_local_function_that_closes_over_nothing_may_be_made_again(ops):
    def make():
        def same(x):
            return x

        return same

    ops.register("t:same", make())
    again = make()
    ops.register("t:same", again)
    assert ops.get("t:same").function is again


def test_two_lambdas_are_two_functions(ops):
    ops.register("t:f", lambda x: x)
    with pytest.raises(RegistrationError, match="already registered"):
        ops.register("t:f", lambda x: x + 1)


@pytest.mark.parametrize(
    "name", ["", " ", "1st", ":x", "a b", "a\n", "é", "x" * 201, None, 3, "a:b\x00"]
)
def test_names_that_no_tool_could_show_are_refused(ops, name):
    with pytest.raises(RegistrationError, match="cannot be the name of an op"):
        ops.register(name, double)


@pytest.mark.parametrize("name", ["a", "img:blur", "org/pkg:img.blur-2_x", "x" * 200])
def test_names_of_packages_and_verbs_are_taken(ops, name):
    ops.register(name, double)
    assert name in ops


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"version": ""}, "version must be"),
        ({"version": 1}, "version must be"),
        ({"on_drift": "panic"}, "on_drift is"),
        ({"requires": "pillow"}, "requires=\\('pillow',\\)"),
    ],
)
def test_options_are_checked(ops, options, text):
    with pytest.raises(RegistrationError, match=text):
        ops.register("t:f", double, **options)
    assert "t:f" not in ops


def test_what_cannot_be_called_is_refused(ops):
    with pytest.raises(RegistrationError, match="not callable"):
        ops.register("t:f", 3)


class Scaler:
    def __init__(self, by=2):
        self.by = by

    def __call__(self, number):
        return self.by * number

    def scale(self, number):
        return self.by * number


def test_other_callables_are_ops_too(ops):
    ops.register("t:partial", functools.partial(double))
    ops.register("t:method", Scaler(3).scale)
    ops.register("t:instance", Scaler(4))
    ops.register("t:class", Scaler)
    assert ops.get("t:method").function(number=2) == 6
    assert ops.get("t:instance").signature.names == {"number"}
    assert ops.get("t:class").signature.defaults == {"by": 2}
    assert ops.get("t:method").implementation is None
    assert ops.get("t:class").implementation == f"{__name__}:Scaler"


# --- packages ------------------------------------------------------------------------------------


def test_a_mapping_or_a_module_with_ops_is_a_package(ops):
    module = types.ModuleType("gfx")
    module.OPS = {"double": double}
    registered = ops.register_package("gfx", module)
    assert [entry.name for entry in registered] == ["gfx:double"]
    ops.register_package("more", {"double": double, "triple": triple}, inline=["triple"])
    assert ops.names() == ("gfx:double", "more:double", "more:triple")
    assert ops.get("more:triple").inline
    assert not ops.get("more:double").inline


def test_a_package_is_registered_whole_or_not_at_all(ops):
    with pytest.raises(RegistrationError, match=r"\*args"):
        ops.register_package("p", {"double": double, "bad": lambda *args: args})
    assert len(ops) == 0
    ops.register("p:triple", double)
    with pytest.raises(RegistrationError, match="p:triple"):
        ops.register_package("p", {"double": double, "triple": triple})
    assert ops.names() == ("p:triple",)


@pytest.mark.parametrize("package", [3, types.ModuleType("empty"), [double]])
def test_what_holds_no_ops_is_no_package(ops, package):
    with pytest.raises(RegistrationError, match="expected a mapping or a module with OPS"):
        ops.register_package("p", package)


@pytest.mark.parametrize("prefix", ["", "a b", None])
def test_a_package_needs_a_prefix(ops, prefix):
    with pytest.raises(RegistrationError, match="cannot be the name"):
        ops.register_package(prefix, {"double": double})


def test_inline_names_of_a_package_must_exist(ops):
    with pytest.raises(RegistrationError, match="triple"):
        ops.register_package("p", {"double": double}, inline=["triple"])


# --- the standard library ------------------------------------------------------------------------


def test_a_fresh_registry_comes_with_the_standard_library():
    ops = OpRegistry()
    assert ops.get("stdlib:add").function(a=1, b=2) == 3
    assert {name for name in ops if ops.get(name).inline} == {
        "stdlib:identity", "stdlib:dict_get", "stdlib:get_item",
    }  # fmt: skip
    assert "stdlib:add" not in OpRegistry(stdlib=False)


def test_the_standard_library_is_identified_by_its_own_versions():
    identity = OpRegistry().get("stdlib:add").identity()
    assert (identity.kind, identity.value, identity.requires) == ("version", "1", {})


def test_clear_brings_a_registry_back_to_its_beginning():
    ops = OpRegistry()
    ops.register("t:f", double)
    ops.register("stdlib:add", double, replace=True)
    ops.clear()
    assert "t:f" not in ops
    assert ops.get("stdlib:add").function(a=1, b=2) == 3


def test_the_standard_library_is_not_replaced_by_accident():
    ops = OpRegistry()
    with pytest.raises(RegistrationError, match="already registered"):
        ops.register("stdlib:add", double)


def test_a_new_op_may_join_the_standard_library_prefix_before_first_use():
    ops = OpRegistry()
    ops.register("stdlib:double", double)
    assert ops.has("stdlib:double")
    assert ops.has("stdlib:add")


def test_threads_that_register_at_once_lose_nothing():
    ops = OpRegistry()
    start = threading.Barrier(8)

    def work(n):
        start.wait()
        for i in range(50):
            ops.register(f"t{n}:f{i}", double)
            assert ops.has("stdlib:add")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(name.startswith("t") for name in ops) == 400


# --- the decorator -------------------------------------------------------------------------------


@op("test_registry:shade", version="1")
def shade(image, amount=1):
    return image + amount


def test_a_decorated_function_stays_itself(ops):
    assert shade(1, amount=2) == 3
    assert isinstance(shade, types.FunctionType)
    assert shade.op_name == "test_registry:shade"
    assert default_registry().get("test_registry:shade").function is shade
    assert default_registry().get("test_registry:shade").implementation == f"{__name__}:shade"


def test_a_decorated_function_pickles_by_value_too():
    copy = pickle.loads(cloudpickle.dumps(_register_local()))
    assert copy(1) == 2
    assert copy.node(x=1) == Node("local:inner", {"x": 1})


def _register_local():
    @op("local:inner", registry=OpRegistry())
    def inner(x):
        return x + 1

    return inner


def test_node_makes_a_node_of_the_op():
    assert shade.node(image=ref("photo"), amount=2) == Node(
        "test_registry:shade", {"image": ref("photo"), "amount": 2}
    )


def test_node_takes_parameters_of_any_name(ops):
    @ops.op("t:odd")
    def odd(op_name, params, self=None):
        return op_name, params, self

    assert odd.node(op_name=1, params=2, self=3).params == {"op_name": 1, "params": 2, "self": 3}


def test_the_default_name_is_that_of_module_and_function(ops):
    @ops.op
    def lighten(image):
        return image

    @ops.op(version="2")
    def darken(image):
        return image

    assert lighten.op_name == "test_registry:lighten"
    assert ops.get("test_registry:darken").version == "2"


@pytest.mark.parametrize(
    ("module", "name"),
    [("__main__", "main:f"), ("__mp_main__", "main:f"), ("a.b.c", "c:f"), ("a._ops", "ops:f")],
)
def test_the_default_name_uses_the_last_part_of_the_module(ops, module, name):
    def f(x):
        return x

    f.__module__, f.__name__ = module, "f"
    ops.op(f)
    assert f.op_name == name


def test_what_has_no_good_name_needs_one(ops):
    with pytest.raises(RegistrationError, match="give one"):
        ops.op(lambda x: x)
    with pytest.raises(RegistrationError, match="give it a name"):
        ops.op(functools.partial(double))
    named = ops.op("t:partial")(functools.partial(double))
    assert named(2) == 4
    assert ops.has("t:partial")


def test_a_registry_decorates_for_itself(ops):
    @ops.op("t:own")
    def own(x):
        return x

    assert "t:own" in ops
    assert "t:own" not in default_registry()
