"""Packages of ops that are installed: found when needed, told of when broken, with their types."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import textwrap
import types as pytypes

import pytest

import invariant_dask as inv
from invariant_dask.core import types
from invariant_dask.core.encode import encode
from invariant_dask.errors import (
    NotCacheableError,
    OpPackageWarning,
    RegistrationError,
    UnknownOpError,
    UnknownTypeError,
)
from invariant_dask.ops import OpRegistry, claims

OPS = """
    def double(number):
        return 2 * number

    def brighter(image, by=1):
        return image + by

    OPS = {"double": double, "brighter": brighter}
"""

PAIR = """
    import hashlib

    class Pair:
        def __init__(self, a, b):
            self.a, self.b = a, b

        def get_stable_hash(self):
            return hashlib.sha256(bytes([self.a, self.b])).hexdigest()

        def to_stream(self, stream):
            stream.write(bytes([self.a, self.b]))

        @classmethod
        def from_stream(cls, stream):
            return cls(*stream.read())

    class NearlyOne:
        def get_stable_hash(self):
            return "0" * 64

    CALLS = []

    def pair(a, b):
        CALLS.append("pair")
        return Pair(a, b)

    def swap(pair):
        CALLS.append("swap")
        return Pair(pair.b, pair.a)

    OPS = {"pair": pair, "swap": swap}
"""


class Site:
    """A folder of installed distributions."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.monkeypatch = folder, monkeypatch

    def install(self, module, source, *, version="1.0", **entries):
        """Install a distribution of one module; `entries` are prefixes and attributes."""
        self.monkeypatch.delitem(sys.modules, module, raising=False)
        (self.folder / f"{module}.py").write_text(textwrap.dedent(source))
        info = self.folder / f"{module}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {module}\nVersion: {version}\n"
        )
        (info / "RECORD").write_text(f"{module}.py,,\n")
        lines = [f"{prefix} = {module}{attribute}" for prefix, attribute in entries.items()]
        (info / "entry_points.txt").write_text("\n".join(["[invariant.ops]", *lines, ""]))


@pytest.fixture
def site(tmp_path, monkeypatch):
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return Site(folder, monkeypatch)


@pytest.fixture
def ops():
    return OpRegistry()


# --- finding -------------------------------------------------------------------------------------


def test_an_op_of_an_installed_package_is_found_by_its_prefix(site, ops):
    site.install("fresh_ops", OPS, fresh=":OPS")
    assert "fresh_ops" not in sys.modules
    entry = ops.get("fresh:double")
    assert entry.function(number=3) == 6
    assert "fresh:brighter" in ops.names()


def test_nothing_is_imported_before_an_op_of_the_package_is_asked_for(site, ops):
    site.install("unused_ops", "raise AssertionError", unused=":OPS")
    ops.get("stdlib:add")
    assert not ops.has("other:thing")
    assert not any(name.startswith("unused:") for name in ops.names())


@pytest.mark.parametrize(
    ("name", "attribute", "more"),
    [
        ("mapping_ops", ":OPS", ""),
        ("module_ops", "", ""),
        ("function_ops", ":provide", "def provide(): return OPS"),
        ("object_ops", ":HOLDER", "class HOLDER: OPS = OPS"),
    ],
)
def test_an_entry_point_leads_to_a_mapping_a_module_an_object_or_a_function(
    site, ops, name, attribute, more
):
    site.install(name, textwrap.dedent(OPS) + more, shaped=attribute)
    assert ops.get("shaped:double").function(number=2) == 4


def test_what_is_installed_later_is_found(site, ops):
    with pytest.raises(UnknownOpError):
        ops.get("later:double")
    site.install("later_ops", OPS, later=":OPS")
    assert ops.has("later:double")


def test_discovery_registers_everything_and_says_what_is_new(site, ops):
    site.install("one_ops", OPS, one=":OPS", two=":OPS")
    new = ops.discover()
    assert {"one:brighter", "one:double", "two:brighter", "two:double"} <= set(new)
    assert ops.discover() == ()


def test_a_registry_can_do_without(site):
    site.install("hidden_ops", OPS, hidden=":OPS")
    assert not OpRegistry(discovery=False).has("hidden:double")


def test_what_was_registered_by_hand_keeps_its_name(site, ops):
    site.install("shadowed_ops", OPS, shadowed=":OPS")

    def double(number):
        return number + number

    ops.register("shadowed:double", double)
    ops.get("shadowed:brighter")
    assert ops.get("shadowed:double").function is double


def test_registering_a_package_that_was_found_already_is_fine(site, ops):
    site.install("twice_ops", OPS, twice=":OPS")
    ops.get("twice:double")
    import twice_ops

    ops.register_package("twice", twice_ops)
    assert ops.get("twice:double").function is twice_ops.double


def test_a_cleared_registry_finds_packages_again(site, ops):
    site.install("cleared_ops", OPS, cleared=":OPS")
    ops.get("cleared:double")
    ops.clear()
    assert ops.has("cleared:double")


def test_ops_of_a_distribution_are_identified_by_its_version(site, ops):
    site.install("dist_ops", OPS, version="2.5", dist=":OPS")
    identity = ops.get("dist:double").identity()
    assert (identity.kind, identity.value) == ("installed", "dist-ops==2.5:dist_ops:double")


# --- what is broken ------------------------------------------------------------------------------


BROKEN = {
    "import": ("import nothing_of_that_name", ":OPS", "ModuleNotFoundError: No module named"),
    "attribute": ("", ":OPS", "AttributeError: .*OPS"),
    "kind": ("OPS = [1]", ":OPS", "expected a mapping or a module with OPS, got"),
    "raises": ("def provide(): raise OSError('no disk')", ":provide", "OSError: no disk"),
    "exits": ("raise SystemExit('not here')", ":OPS", "SystemExit: not here"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_package_is_named_with_its_error(site, ops, case):
    source, attribute, reason = BROKEN[case]
    site.install(f"broken_{case}", source, broken=attribute)
    with pytest.raises(UnknownOpError, match=f"(?s)no op named 'broken:it'; .*{reason}") as caught:
        ops.get("broken:it")
    assert f"op package 'broken' of broken_{case} 1.0" in caught.value.reason
    with pytest.warns(OpPackageWarning, match=f"(?s)broken_{case} 1.0.*{reason}"):
        assert not ops.has("broken:it")
    with pytest.warns(OpPackageWarning, match=f"(?s)broken_{case} 1.0.*{reason}"):
        ops.discover()
    assert list(ops.problems) == ["broken:"]


def test_a_broken_package_does_not_keep_others_from_working(site, ops):
    site.install("bad_ops", "raise ValueError('bad')", bad=":OPS")
    site.install("good_ops", OPS, good=":OPS")
    with pytest.warns(OpPackageWarning, match="bad"):
        assert "good:double" in ops.discover()


def test_a_package_that_was_mended_works(site, ops):
    site.install("mended_ops", "raise ValueError('bad')", mended=":OPS")
    with pytest.raises(UnknownOpError):
        ops.get("mended:double")
    (site.folder / "mended_ops.py").write_text(textwrap.dedent(OPS))
    assert ops.has("mended:double")
    assert not ops.problems


def test_one_bad_op_leaves_the_others_usable(site, ops):
    source = textwrap.dedent(OPS) + "async def late(x): pass\nOPS['late'] = late\nOPS['one'] = 1\n"
    site.install("partly_ops", source, partly=":OPS")
    assert ops.has("partly:double")
    with pytest.raises(UnknownOpError, match="'partly:late' is an async function"):
        ops.get("partly:late")
    with pytest.raises(UnknownOpError, match="'partly:one': 1 is not callable"):
        ops.get("partly:one")


def test_two_functions_under_one_name_are_none(site, ops):
    site.install("left_ops", OPS, both=":OPS")
    site.install("right_ops", OPS + "\n    OPS = {'double': double}", both=":OPS")
    assert ops.has("both:brighter")
    with pytest.raises(UnknownOpError, match=r"right_ops 1\.0.* and .*left_ops 1\.0.*both have"):
        ops.get("both:double")


def test_nobody_takes_the_prefix_of_our_own_libraries(site, ops):
    site.install("rival_ops", OPS, stdlib=":OPS")
    assert ops.get("stdlib:add").function.__module__.startswith("invariant_dask.")
    assert not ops.has("stdlib:brighter")
    with pytest.warns(OpPackageWarning, match="rival_ops 1.0 .* has a prefix that is taken"):
        ops.discover()


# --- traits --------------------------------------------------------------------------------------


def marked(number):
    return number


marked.__invariant_op_traits__ = frozenset({"io-bound", "blocking", "low-cost"})


def test_traits_become_hints_for_schedulers_and_no_identity(ops):
    plain = ops.register("t:it", marked, version="1", traits=["cpu-bound"])
    assert plain.traits == ("blocking", "cpu-bound", "io-bound", "low-cost")
    assert plain.scheduling == {"blocking": True, "cpu_bound": True, "io_bound": True}
    other = OpRegistry().register("t:it", lambda number: number, version="1")
    assert other.traits == ()
    assert other.scheduling == {}
    assert other.identity().encode() == plain.identity().encode()


@pytest.mark.parametrize("bad", ["io-bound", 3, [""], [3]])
def test_traits_are_a_list_of_texts(ops, bad):
    with pytest.raises(RegistrationError, match="trait"):
        ops.register("t:it", marked, traits=bad)


def test_a_decorator_of_traits_does_not_enter_the_fingerprint(monkeypatch, tmp_path):
    traits = pytypes.ModuleType("invariant.traits")
    source = """
        def op_traits(*traits):
            def decorate(function):
                function.__invariant_op_traits__ = frozenset(traits)
                return function
            return decorate
    """
    exec(textwrap.dedent(source), vars(traits))
    monkeypatch.setitem(sys.modules, "invariant.traits", traits)
    monkeypatch.syspath_prepend(str(tmp_path))
    digests = set()
    for at, decorator in enumerate(["", "@op_traits('blocking')", "@op_traits('io-bound')"]):
        text = f"from invariant.traits import op_traits\n{decorator}\ndef it(x):\n    return x\n"
        (tmp_path / f"traited_{at}.py").write_text(text)
        module = __import__(f"traited_{at}")
        digests.add(OpRegistry().register("t:it", module.it).identity().value)
    assert len(digests) == 1


# --- types ---------------------------------------------------------------------------------------


def test_values_of_a_packages_own_types_are_stored_and_read_back(site, tmp_path):
    site.install("pair_ops", PAIR, pair=":OPS")
    graph = {
        "pair": inv.Node("pair:pair", {"a": 1, "b": 2}),
        "swap": inv.Node("pair:swap", {"pair": inv.ref("pair")}),
    }
    store = inv.DiskStore(tmp_path / "store")
    for _ in range(2):
        result = inv.compile(graph, store=store, registry=OpRegistry()).compute()
        assert (type(result).__name__, result.a, result.b) == ("Pair", 2, 1)
    import pair_ops

    assert pair_ops.CALLS == ["pair", "swap"]
    assert types.binding_of(pair_ops.NearlyOne) is None
    assert "pair_ops:Pair" in claims.references()


def test_a_fresh_process_reads_what_a_package_stored(site, tmp_path):
    site.install("again_ops", PAIR, again=":OPS")
    script = f"""
        import sys
        sys.path.insert(0, {str(site.folder)!r})
        import invariant_dask as inv
        graph = {{"pair": inv.Node("again:pair", {{"a": 1, "b": 2}})}}
        result = inv.compile(graph, store=inv.DiskStore({str(tmp_path / "store")!r})).compute()
        import again_ops
        print(result.a, result.b, len(again_ops.CALLS))
    """
    runs = [
        subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script)],
            check=True, capture_output=True, text=True,
        ).stdout.split()
        for _ in range(2)
    ]  # fmt: skip
    assert runs == [["1", "2", "1"], ["1", "2", "0"]]


def test_live_values_of_a_package_need_no_op_of_it(site, tmp_path):
    site.install("live_ops", PAIR, live=":OPS")
    import live_ops

    graph = {"it": inv.Node("stdlib:make_list", {"items": [inv.ref("given"), live_ops.Pair(3, 4)]})}
    store = inv.DiskStore(tmp_path / "store")
    compiled = inv.compile(graph, context={"given": live_ops.Pair(1, 2)}, store=store)
    assert [(pair.a, pair.b) for pair in compiled.compute()] == [(1, 2), (3, 4)]


def test_a_type_of_a_distribution_without_ops_has_to_be_registered(site):
    site.install("plain_types", PAIR)
    import plain_types

    with pytest.raises(NotCacheableError, match="@cacheable"):
        encode(plain_types.Pair(1, 2))


def test_bytes_that_name_a_type_import_and_register_nothing(site):
    site.install("named_ops", PAIR, named=":OPS")
    with pytest.raises(UnknownTypeError):
        types.find("named_ops.Pair", "named_ops==1.0:named_ops:Pair")
    assert "named_ops" not in sys.modules


def test_another_process_is_told_of_types_by_reference(site):
    site.install("told_ops", PAIR, told=":OPS")
    claims.bind_references(["told_ops:Pair", "told_ops:NearlyOne", "told_ops:nothing"])
    import told_ops

    assert types.binding_of(told_ops.Pair).is_stream
    assert types.binding_of(told_ops.NearlyOne) is None


class Declared(inv.ICacheable):
    """Inherits from the protocol and thereby says what it is."""

    def __init__(self, number):
        self.number = number

    def get_stable_hash(self):
        return hashlib.sha256(b"%d" % self.number).hexdigest()

    def to_stream(self, stream):
        stream.write(b"%d" % self.number)

    @classmethod
    def from_stream(cls, stream):
        return cls(int(stream.read()))


def declare(number):
    return Declared(number)


def test_a_class_that_inherits_from_icacheable_needs_no_decorator(tmp_path, ops):
    ops.register("t:declare", declare, version="1")
    ops.get("t:declare")
    assert types.binding_of(Declared).is_stream
    store = inv.DiskStore(tmp_path)
    graph = {"it": inv.Node("t:declare", {"number": 3})}
    assert inv.compile(graph, store=store, registry=ops).compute().number == 3
    assert inv.compile(graph, store=store, registry=ops).compute().number == 3


def test_the_protocol_itself_and_unfinished_classes_are_no_values():
    class Unfinished(inv.ICacheable):
        def get_stable_hash(self):
            return "0" * 64

    with pytest.raises(NotCacheableError, match="@cacheable"):
        encode(Unfinished())
    claims.claim_declared()
    assert types.binding_of(inv.ICacheable) is None
    assert types.binding_of(Unfinished) is None


def test_registering_a_package_of_own_code_registers_its_types(ops, monkeypatch):
    module = pytypes.ModuleType("own_ops")
    monkeypatch.setitem(sys.modules, "own_ops", module)
    exec(textwrap.dedent(PAIR), vars(module))
    ops.register_package("own", module)
    assert types.binding_of(module.Pair).is_stream
    assert types.binding_of(module.NearlyOne) is None
