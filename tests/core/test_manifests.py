"""Manifests are what FORMAT.md says, for us and for the second implementation of it."""

from __future__ import annotations

import hashlib
import json
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import cacheable_values, text
from vectors import names, reference

from invariant_dask import MemoryStore, Node, compile, ref
from invariant_dask.core import manifest as ours
from invariant_dask.core.cbor import REF_HEAD
from invariant_dask.core.encode import descriptor_of, encode
from invariant_dask.core.scalars import encode_str
from invariant_dask.errors import EncodingError
from invariant_dask.ops.registry import OpRegistry

PATH = names.__file__.replace("names.py", "manifests.json")
with open(PATH, encoding="utf-8") as opened:  # noqa: PTH123
    STORED = json.load(opened)
MANIFESTS = {vector["name"]: vector for vector in STORED["manifests"]}
BUNDLES = {vector["name"]: vector for vector in STORED["bundles"]}
GRAPHS = {vector["name"]: vector for vector in STORED["graphs"]}

# As in test_vectors: lines are added, never changed.
GENERATIONS = [
    ("manifests", 19, "a3078a5b6cfdf04c16cb57d559edcf919780c999bbb2d402396bfad206aa632f"),
    ("bundles", 3, "38d259c2dd397aaaf160799d4f960ca4982ddaf102878409bceba342c688a102"),
    ("graphs", 2, "2fdc0909ba590969c12956d7ff65974190741279b564b454cf0bf304f2517cc3"),
]


@pytest.fixture(autouse=True)
def _types_of_vectors() -> None:
    names.bind()


def assemble(op, params, private=None) -> bytes:
    handlers = {reference.Upstream: lambda upstream: (REF_HEAD + upstream.planned, b"")}
    fields = sorted(
        (encode_str(name), descriptor_of(encode(value, handlers).identity))
        for name, value in params.items()
    )
    third = b"" if private is None else ours.private_item(*private)
    return ours.assemble(encode(op).storage, fields, third)


def private_of(vector):
    given = vector.get("private")
    return None if given is None else (given[0], bytes.fromhex(given[1]))


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifest(name) -> None:
    vector = MANIFESTS[name]
    params = names.evaluate(vector["params"])
    manifest = assemble(vector["op"], params, private_of(vector))
    assert manifest.hex() == vector["manifest"]
    assert ours.digest(manifest).hex() == vector["digest"]


@pytest.mark.parametrize("name", MANIFESTS)
def test_another_implementation_gives_the_same_manifest(name) -> None:
    vector = MANIFESTS[name]
    params = {key: names.for_reference(x) for key, x in names.evaluate(vector["params"]).items()}
    manifest = reference.manifest(vector["op"], params, private_of(vector))
    assert manifest.hex() == vector["manifest"]
    assert reference.manifest_digest(manifest).hex() == vector["digest"]


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_can_be_taken_apart(name) -> None:
    vector = MANIFESTS[name]
    params = names.evaluate(vector["params"])
    parsed = ours.parse(bytes.fromhex(vector["manifest"]))
    assert parsed.op_value == vector["op"]
    assert parsed.params.keys() == params.keys()
    assert all(ours.render(descriptor) for descriptor in parsed.params.values())


@pytest.mark.parametrize("name", MANIFESTS)
def test_what_is_no_manifest_is_refused(name) -> None:
    raw = bytes.fromhex(MANIFESTS[name]["manifest"])
    for bad in (raw + b"\0", raw[:-1], b"\x84" + raw[1:], b"\x81" + raw[1:], raw[1:], b""):
        with pytest.raises(EncodingError):
            ours.parse(bad)


@pytest.mark.parametrize(
    "params", ["a2616201616101", "a2616101616101", "a10101", "a162616101616201"],
    ids=["out of order", "repeated", "a number", "short"],
)  # fmt: skip
def test_parameters_out_of_canonical_form_are_refused(params) -> None:
    op = encode(["v:add", "version", "1", {}]).storage
    ours.parse(b"\x82" + op + bytes.fromhex("a2616101616202"))
    with pytest.raises(EncodingError):
        ours.parse(b"\x82" + op + bytes.fromhex(params))


def test_a_third_item_of_another_kind_is_refused() -> None:
    start = b"\x83" + encode(["v:add", "version", "1", {}]).storage + b"\xa0"
    ours.parse(start + ours.private_item("n", bytes(16)))
    for third in (b"\x01", ours.private_item("n", bytes(15)), encode(["n", bytes(16)]).storage):
        with pytest.raises(EncodingError):
            ours.parse(start + third)


@pytest.mark.parametrize("name", BUNDLES)
def test_bundle(name) -> None:
    outputs = {node: bytes.fromhex(text) for node, text in BUNDLES[name]["outputs"].items()}
    assert ours.bundle_digest(outputs.items()).hex() == BUNDLES[name]["digest"]
    assert ours.bundle_digest(reversed(outputs.items())).hex() == BUNDLES[name]["digest"]
    assert reference.bundle_digest(outputs).hex() == BUNDLES[name]["digest"]


@pytest.mark.parametrize("name", GRAPHS)
def test_planned_digests_of_a_graph(name) -> None:
    ops = OpRegistry()
    ops.op("v:source", version="1", requires=())(lambda seed: list(range(seed)))
    ops.op("v:total", version="1", requires=())(lambda values, plus=0: sum(values) + plus)
    ops.op("v:pack", version="1", requires=())(lambda a, b: [a, b])
    graph = {
        node: Node(op, eval(params, {"ref": ref}))
        for node, (op, params) in GRAPHS[name]["nodes"].items()
    }
    everything = compile(graph, outputs=list(graph), store=MemoryStore(), registry=ops)
    found = dict(everything.digests)
    bundle = found.pop("<outputs>")
    assert found == GRAPHS[name]["digests"]
    planned = {node: bytes.fromhex(digest) for node, digest in found.items()}
    assert bundle == reference.bundle_digest(planned).hex()


@given(
    st.tuples(text, text, text, st.dictionaries(text, text, max_size=3)).map(list),
    st.dictionaries(text, cacheable_values(), max_size=4),
    st.none() | st.tuples(text, st.binary(min_size=16, max_size=16)),
)
def test_both_implementations_agree_on_any_manifest(op, params, private) -> None:
    manifest = assemble(op, params, private)
    assert manifest == reference.manifest(op, params, private)
    assert ours.digest(manifest) == reference.manifest_digest(manifest)
    assert ours.parse(manifest).op_value == op


def test_each_part_of_a_manifest_matters() -> None:
    op, params = ["v:add", "version", "1", {"numpy": "2"}], {"a": 1}
    upstream = reference.Upstream(bytes(32))
    manifests = [
        assemble(op, params),
        assemble(["v:sub", *op[1:]], params),
        assemble([op[0], "code", *op[2:]], params),
        assemble([*op[:2], "2", op[3]], params),
        assemble([*op[:3], {"numpy": "3"}], params),
        assemble([*op[:3], {}], params),
        assemble(op, {"a": 2}),
        assemble(op, {"b": 1}),
        assemble(op, {"a": 1, "b": None}),
        assemble(op, {"a": bytes(32)}),
        assemble(op, {"a": upstream}),
        assemble(op, {"a": [upstream]}),
        assemble(op, {"a": reference.Upstream(b"\1" * 32)}),
        assemble(op, params, ("n", bytes(16))),
        assemble(op, params, ("m", bytes(16))),
        assemble(op, params, ("n", b"\1" * 16)),
    ]
    for left, right in combinations(manifests, 2):
        assert ours.digest(left) != ours.digest(right)


def test_no_hash_is_taken_for_one_of_another_kind() -> None:
    # The same bytes under two domains; and a planned reference is no hash of a value.
    data = encode([["a", {}]]).identity
    assert len({ours.digest(data), encode([["a", {}]]).hash, hashlib.sha256(data).digest()}) == 3
    op = ["v:add", "version", "1", {}]
    long = "x" * 200
    planned = assemble(op, {"a": reference.Upstream(encode(long).hash)})
    assert planned != assemble(op, {"a": long})


@pytest.mark.parametrize(("kind", "count", "digest"), GENERATIONS)
def test_vectors_are_only_ever_added(kind, count, digest) -> None:
    assert hashlib.sha256(json.dumps(STORED[kind][:count]).encode()).hexdigest() == digest
