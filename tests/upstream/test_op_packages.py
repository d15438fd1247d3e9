"""The ops of `invariant-gfx`, found by their prefix and run as they are."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from decimal import Decimal

import dask
import invariant
import invariant.types
import invariant_gfx.ops
import pytest
from invariant.store.memory import MemoryStore as TheirStore
from invariant_gfx.artifacts import BlobArtifact, ImageArtifact

import invariant_dask as inv
from invariant_dask.core import types
from invariant_dask.core.decode import decode
from invariant_dask.core.encode import encode
from invariant_dask.ops import OpRegistry, claims
from invariant_dask.ops.poly import Polynomial

BLURRED = {
    "canvas": invariant.Node(
        "gfx:create_solid", {"size": (12, 8), "color": (200, 10, 10, 255)}, []
    ),
    "small": invariant.Node(
        "gfx:resize", {"image": invariant.ref("canvas"), "scale": Decimal("0.5")}, ["canvas"]
    ),
    "blurred": invariant.Node(
        "gfx:gaussian_blur", {"image": invariant.ref("small"), "sigma": 2}, ["small"]
    ),
}


@pytest.fixture
def called(monkeypatch):
    """Names of the functions of `invariant_gfx` that are called in this thread."""
    names = []

    def note(frame, event, _argument):
        name, module = frame.f_code.co_name, frame.f_globals["__name__"]
        if event == "call" and f"gfx:{name}" in OPS and module.startswith("invariant_gfx.ops."):
            names.append(name)

    sys.setprofile(note)
    yield names
    sys.setprofile(None)


OPS = {f"gfx:{name}" for name in invariant_gfx.ops.OPS}


def test_discovery_finds_every_op_and_nothing_is_wrong():
    registry = OpRegistry()
    assert set(registry.discover()) == OPS
    assert not registry.problems


def test_every_op_is_identified_by_the_distribution_it_comes_with():
    registry = OpRegistry()
    for name in OPS:
        identity = registry.get(name).identity()
        assert identity.kind == "installed"
        function = invariant_gfx.ops.OPS[name.removeprefix("gfx:")]
        home = f"{function.__module__}:{function.__qualname__}"
        assert identity.value == f"invariant-gfx=={invariant_gfx.__version__}:{home}"


def test_traits_are_taken_over():
    registry = OpRegistry()
    for name, traits in invariant_gfx.ops.OP_TRAITS.items():
        expected = {
            trait.value if isinstance(trait, invariant.OpTrait) else trait for trait in traits
        }
        assert registry.get(f"gfx:{name}").traits == tuple(sorted(expected))
    assert registry.get("gfx:resolve_resource").scheduling["io_bound"] is True


def test_their_own_way_of_registering_works_on_our_registry():
    registry = OpRegistry(discovery=False)
    invariant_gfx.register_core_ops(registry)
    assert set(registry.names()) >= OPS
    graph = {"it": inv.Node("gfx:create_solid", {"size": (2, 2), "color": (0, 0, 0, 0)})}
    assert inv.compile(graph, registry=registry, store=inv.NullStore()).compute().width == 2


def test_images_are_made_once_stored_and_read_back(tmp_path, called):
    store = inv.DiskStore(tmp_path)
    first = inv.compile(BLURRED, [invariant.ref("blurred")], store=store).compute(
        scheduler="synchronous"
    )
    assert called == ["create_solid", "resize", "gaussian_blur"]
    called.clear()
    second = inv.compile(BLURRED, ["blurred"], store=store).compute(scheduler="synchronous")
    assert called == []
    sys.setprofile(None)
    registry = invariant.OpRegistry()
    registry.clear()
    registry.auto_discover()
    expected = invariant.Executor(registry, TheirStore()).execute(BLURRED, ["blurred"])["blurred"]
    for result in (first, second):
        assert type(result) is ImageArtifact
        assert result.image.tobytes() == expected.image.tobytes()
        assert result.get_stable_hash() == expected.get_stable_hash()


def test_a_process_that_imported_none_of_it_reads_what_was_stored(tmp_path):
    script = f"""
        import sys
        import invariant_dask as inv
        graph = {{"it": inv.Node("gfx:create_solid", {{"size": (3, 2), "color": (1, 2, 3, 255)}})}}
        assert "invariant_gfx" not in sys.modules
        compiled = inv.compile(graph, store=inv.DiskStore({str(tmp_path)!r}))
        module = sys.modules["invariant_gfx.ops.create_solid"]
        made, make = [], module.Image.new
        module.Image.new = lambda *arguments: made.append(1) or make(*arguments)
        print(compiled.compute().image.size, len(made))
    """
    runs = [
        subprocess.run(
            [sys.executable, "-W", "error", "-c", textwrap.dedent(script)],
            check=True, capture_output=True, text=True,
        ).stdout.strip()
        for _ in range(2)
    ]  # fmt: skip
    assert runs == ["(3, 2) 1", "(3, 2) 0"]


def test_values_of_their_types_are_parameters_and_context():
    blob = BlobArtifact(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml")
    polynomial = invariant.types.Polynomial([1, 2])
    graph = {
        "blob": inv.Node("stdlib:identity", {"value": blob}),
        "sum": inv.Node("poly:add", {"a": inv.ref("given"), "b": polynomial}),
    }
    store = inv.MemoryStore()
    results = [
        inv.compile(graph, ["blob", "sum"], {"given": polynomial}, store=store).compute()
        for _ in range(2)
    ]
    for result in results:
        blob_back, total = result["blob"], result["sum"]
        assert (blob_back.data, blob_back.content_type) == (blob.data, blob.content_type)
        assert total == Polynomial([2, 4])


def test_values_of_their_types_reach_processes_that_never_saw_them(tmp_path):
    graph = {
        "sum": inv.Node("poly:add", {"a": inv.ref("p"), "b": invariant.types.Polynomial([1, 2])}),
        "blob": inv.Node("stdlib:make_list", {"items": [BlobArtifact(b"x", "text/plain")]}),
    }
    context = {"p": invariant.types.Polynomial([0, 1])}
    compiled = inv.compile(graph, ["sum", "blob"], context, store=inv.DiskStore(tmp_path))
    found = compiled.compute(scheduler="processes", num_workers=2)
    assert found["sum"] == Polynomial([1, 3])
    assert found["blob"][0].data == b"x"


@pytest.mark.parametrize("stored", [False, True])
def test_plain_dask_reads_values_of_their_types_in_fresh_processes(stored, tmp_path):
    compiled = inv.compile(BLURRED, ["blurred"], store=inv.DiskStore(tmp_path))
    if stored:
        compiled.compute(scheduler="sync")
    for collection in (compiled, compiled.frozen()):
        (found,) = dask.compute(collection, scheduler="processes", num_workers=2)
        assert type(found) is ImageArtifact


@pytest.mark.parametrize(
    "value", [invariant.types.Polynomial([1, 2]), BlobArtifact(b"x", "text/plain")]
)
def test_identities_of_their_values_carry_the_version_of_their_distribution(value):
    encoded = encode(value)
    binding = types.binding_of(type(value))
    assert binding.identity.partition(":")[0] in {
        f"invariant-core=={invariant.__version__}",
        f"invariant-gfx=={invariant_gfx.__version__}",
    }
    assert decode(encoded.storage).get_stable_hash() == value.get_stable_hash()
    cls = type(value)
    assert f"{cls.__module__}:{cls.__qualname__}" in claims.references()
