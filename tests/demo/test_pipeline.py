"""The graph of the demo, and the demo itself on a real cluster."""

from __future__ import annotations

import io
import sys
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from invariant_dask.demo import report
from invariant_dask.demo.pipeline import OUTPUTS, PHOTOGRAPHS, build, photographs
from invariant_dask.demo.report import CHANGES, Demo, causes
from invariant_dask.errors import (
    GraphError,
    MissingExtraError,
    SpecError,
    StoreLayoutError,
    StoreUnavailableError,
)
from invariant_dask.plan.plan import Decision
from invariant_dask.session import compile as compile_graph
from invariant_dask.store.disk import DiskStore
from invariant_dask.store.memory import MemoryStore


@pytest.fixture(scope="session")
def few() -> dict[str, Path]:
    found = photographs()
    return {name: found[name] for name in ("astronaut", "camera", "rocket")}


@pytest.fixture
def demo(few: dict[str, Path], tmp_path: Path) -> Demo:
    return Demo(folder=tmp_path / "demo", side=64, photos=few)


# --- the graph ---


def test_all_photographs_come_with_scikit_image() -> None:
    assert photographs().keys() == PHOTOGRAPHS.keys()
    assert len(PHOTOGRAPHS) == 12


def test_graph_has_the_promised_size_and_branches() -> None:
    g = build()
    assert 80 <= len(g) <= 160
    compiled = compile_graph(g, OUTPUTS, store=MemoryStore())
    assert compiled.plan().counts()[Decision.RUN] == len(g)  # each node is needed by an output


def test_strength_of_the_curve_touches_the_montage_only(few: dict[str, Path]) -> None:
    def digests(strength: str) -> dict[str, str]:
        g = build(few, side=64, strength=Decimal(strength))
        return dict(compile_graph(g, OUTPUTS, store=MemoryStore()).digests)

    one, other = digests("0.4"), digests("0.5")
    differing = {node.rpartition("/")[2] for node in one if one[node] != other[node]}
    assert differing == {"tone", "sharpen", "thumbnail", "card", "page", "png", "<outputs>"}
    for same in ("edges/png", "report", "camera/denoise", "camera/edges/thumbnail"):
        assert one[same] == other[same]


@pytest.mark.parametrize("side", [0, 63, 2049, -5, True])
def test_refuses_a_side_out_of_range(side: int) -> None:
    with pytest.raises(GraphError, match="from 64 to 2048"):
        build(side=side)


def test_refuses_to_work_without_photographs() -> None:
    with pytest.raises(GraphError, match="at least one photograph"):
        build({})


@pytest.mark.parametrize(("module", "name"), [("PIL", "Pillow"), ("skimage", "scikit-image")])
def test_says_what_to_install(module: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # Python's own way to say: not there
    with pytest.raises(MissingExtraError) as caught:
        photographs()
    assert str(caught.value) == f"{name} not found; run: pip install 'invariant-dask[demo]'"


# --- three runs ---


def test_three_runs_compute_reuse_and_recompute_what_depends_on_the_change(
    demo: Demo, client: Any
) -> None:
    cold, warm, changed = demo.cold(client), demo.warm(client), demo.changed(client)
    total = len(demo.build(cold.strength))
    assert cold.counts == {"ran": total, "shared": 0, "reused": 0, "pruned": 0}
    left = total - len(OUTPUTS)
    assert warm.counts == {"ran": 0, "shared": 0, "reused": len(OUTPUTS), "pruned": left}
    assert Counter(node.rpartition("/")[2] for node in changed.run.ran()) == {
        "tone": 3, "sharpen": 3, "thumbnail": 3, "card": 3, "page": 1, "png": 1,
    }  # fmt: skip
    assert warm.run.values == cold.run.values
    for same in ("edges/png", "report"):
        assert changed.run.values[same] == cold.run.values[same]
    # Shared and expensive, and above what is stored: not even looked at.
    for node in ("camera/decode", "camera/fit"):
        assert changed.run.plan[node].decision is Decision.PRUNED
    assert changed.run.plan["camera/denoise"].decision is Decision.REUSE


def test_reruns_are_explained_by_their_root_cause(demo: Demo, client: Any) -> None:
    demo.cold(client)
    changed = demo.changed(client)
    *roots, common = causes(changed.run, demo.build(changed.strength))
    assert [cause.node for cause in roots] == [f"{name}/tone" for name in demo.photos]
    for cause in roots:
        (told,) = cause.causes
        assert "strength" in told
        assert told.index("0.40") < told.index("0.80")
        assert [node.rpartition("/")[2] for node in cause.followers] == [
            "sharpen", "thumbnail", "card",
        ]  # fmt: skip
    assert (common.node, common.causes) == ("", ())
    assert common.followers == ("montage/page", "montage/png")
    explained = {node for c in (*roots, common) for node in (c.node, *c.followers)} - {""}
    assert explained == set(changed.run.ran())


def test_pictures_and_table_are_written(demo: Demo, client: Any) -> None:
    cold, changed = demo.cold(client), demo.changed(client)
    names = [path.name for path in (*cold.files, *changed.files)]
    assert names == ["montage.png", "edges.png", "report.txt", "montage-changed.png"]
    before, after = (
        np.asarray(Pillow.open(demo.folder / name)).astype(int)
        for name in ("montage.png", "montage-changed.png")
    )
    assert before.shape == after.shape == (32 + 2 + 2 * 2, 3 * (32 + 2) + 2, 3)
    assert np.ptp(before) > 200
    # More contrast, in pictures that are otherwise the same.
    assert after[:34, 2:].std() > before[:34, 2:].std()
    assert (demo.folder / "report.txt").read_text().count("\n") == 1 + len(demo.photos)
    assert Pillow.open(io.BytesIO(cold.run.values["edges/png"])).mode == "L"


def test_a_second_demo_reuses_the_first_and_still_has_something_to_change(
    demo: Demo, few: dict[str, Path], client: Any
) -> None:
    demo.cold(client)
    first = demo.changed(client)
    again = Demo(folder=demo.folder, side=64, photos=few)
    assert again.cold(client).counts["ran"] == 0
    second = again.changed(client)
    assert (first.strength, second.strength) == CHANGES[:2]
    assert second.counts["ran"] == first.counts["ran"] > 0


def test_when_all_changes_are_stored_the_demo_goes_on(
    demo: Demo, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "CHANGES", CHANGES[:1])
    demo.changed(client)
    last = demo.changed(client)
    assert last.strength == CHANGES[0]
    assert last.counts["ran"] == 0
    assert causes(last.run, demo.build(last.strength)) == []


# --- stores and folders ---


def test_fresh_empties_the_demos_own_store(demo: Demo, few: dict[str, Path], client: Any) -> None:
    demo.cold(client)
    again = Demo(folder=demo.folder, side=64, photos=few, fresh=True)
    assert again.compile(CHANGES[0]).plan().counts()[Decision.REUSE] == 0
    assert (demo.folder / "montage.png").is_file()


def test_fresh_leaves_other_stores_alone(tmp_path: Path, few: dict[str, Path]) -> None:
    store = DiskStore(tmp_path / "mine")
    with pytest.raises(SpecError, match="own store only"):
        Demo(folder=tmp_path, store=store.url, photos=few, fresh=True)
    assert (tmp_path / "mine" / "index.sqlite").exists()


def test_fresh_removes_no_folder_that_is_not_a_store(tmp_path: Path, few: dict[str, Path]) -> None:
    precious = tmp_path / "store" / "thesis.txt"
    precious.parent.mkdir()
    precious.write_text("ten years of work")
    with pytest.raises(StoreLayoutError):
        Demo(folder=tmp_path, photos=few, fresh=True)
    assert precious.read_text() == "ten years of work"


def test_a_folder_that_cannot_be_made_is_a_clear_error(
    tmp_path: Path, few: dict[str, Path]
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailableError, match="cannot write to"):
        Demo(folder=tmp_path / "file" / "demo", photos=few)


def test_nothing_is_made_if_the_input_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(GraphError):
        Demo(folder=tmp_path / "demo", side=1)
    assert not list(tmp_path.iterdir())
