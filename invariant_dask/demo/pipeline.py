"""The graph of the demo: from photographs to a montage, a page of edges and a table.

Everything up to `denoise` is shared by three branches, so what is changed in one of them leaves
the expensive part and the other branches alone.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from invariant_dask.demo import ops
from invariant_dask.errors import GraphError, MissingExtraError
from invariant_dask.graph.model import File, Graph

if TYPE_CHECKING:
    import os

    from invariant_dask.graph.model import Ref

OUTPUTS = ("montage/png", "edges/png", "report")

SIDE = 512
"""Longer side of the working copies, in pixels."""

SIDES = (64, 2048)
"""Smallest and largest working copies."""

STRENGTH = Decimal("0.40")
"""Strength of the tone curve."""

PHOTOGRAPHS: Mapping[str, str] = {
    "astronaut": "astronaut.png",
    "cat": "chelsea.png",
    "coffee": "coffee.png",
    "rocket": "rocket.jpg",
    "deep-field": "hubble_deep_field.jpg",
    "retina": "retina.jpg",
    "tissue": "ihc.png",
    "motorcycle": "motorcycle_left.png",
    "camera": "camera.png",
    "coins": "coins.png",
    "moon": "moon.png",
    "cell": "cell.png",
}
"""Photographs that come with scikit-image, by the names they have here."""


def photographs() -> dict[str, Path]:
    """Return where the photographs of scikit-image are; none is downloaded.

    Raises
    ------
    MissingExtraError
        If scikit-image or Pillow is not installed.
    """
    missing = [
        name
        for module, name in (("PIL", "Pillow"), ("skimage", "scikit-image"))
        if importlib.util.find_spec(module) is None
    ]
    if missing:
        raise MissingExtraError(extra="demo", missing=missing)
    # Looked up, not imported: importing scikit-image takes longer than a warm run.
    spec = importlib.util.find_spec("skimage")
    assert spec is not None
    folders = [Path(place) / "data" for place in spec.submodule_search_locations or ()]
    found = {
        name: folder / file
        for name, file in PHOTOGRAPHS.items()
        for folder in folders
        if (folder / file).is_file()
    }
    if not found:
        raise MissingExtraError(extra="demo", missing=["scikit-image with its pictures"])
    return found


def build(
    photos: Mapping[str, str | os.PathLike[str]] | None = None,
    *,
    side: int = SIDE,
    noise: Decimal = Decimal(5),
    strength: Decimal = STRENGTH,
) -> Graph:
    """Build the graph; its outputs are `montage/png`, `edges/png` and `report`.

    Parameters
    ----------
    photos
        Image files by name; by default the photographs that come with scikit-image.
    side
        Longer side of the working copies, in pixels.
    noise
        How strong noise to remove, in levels.
    strength
        Strength of the tone curve; touches the montage only.

    Raises
    ------
    GraphError
        If `side` is out of range or there are no photographs.
    MissingExtraError
        If the default photographs are not there.
    """
    photos = photographs() if photos is None else photos
    if not photos:
        raise GraphError("the demo needs at least one photograph")
    if type(side) is not int or not SIDES[0] <= side <= SIDES[1]:
        msg = f"side is {side!r}; it must be a number of pixels from {SIDES[0]} to {SIDES[1]}"
        raise GraphError(msg)
    g = Graph("photographs")
    cards: list[Ref] = []
    drawings: list[Ref] = []
    statistics: list[Ref] = []
    palettes: list[Ref] = []
    for name, path in photos.items():
        clean = _working_copy(g, name, path, side, noise)
        seen = g.add(f"{name}/histogram", ops.histogram, image=clean)
        colours = g.add(f"{name}/palette", ops.palette, image=clean, colours=6)
        cards.append(_card(g, name, clean, seen, colours, side, strength))
        drawings.append(_drawing(g, name, clean, side))
        statistics.append(seen)
        palettes.append(colours)
    _page(g, "montage", cards, side)
    _page(g, "edges", drawings, side)
    g.add("report", ops.summary, names=list(photos), statistics=statistics, palettes=palettes)
    return g


def _working_copy(
    g: Graph, name: str, path: str | os.PathLike[str], side: int, noise: Decimal
) -> Ref:
    """Add the three steps that all branches share, and return the last."""
    decoded = g.add(f"{name}/decode", ops.decode, file=File(path))
    fitted = g.add(f"{name}/fit", ops.fit, image=decoded, side=side)
    return g.add(f"{name}/denoise", ops.denoise, image=fitted, radius=10, strength=noise)


def _card(
    g: Graph, name: str, clean: Ref, seen: Ref, colours: Ref, side: int, strength: Decimal
) -> Ref:
    toned = g.add(f"{name}/tone", ops.tone, image=clean, statistics=seen, strength=strength)
    crisp = g.add(f"{name}/sharpen", ops.sharpen, image=toned, amount=Decimal("0.8"))
    small = g.add(f"{name}/thumbnail", ops.thumbnail, image=crisp, side=side // 2)
    return g.add(f"{name}/card", ops.card, image=small, colours=colours, strip=side // 32)


def _drawing(g: Graph, name: str, clean: Ref, side: int) -> Ref:
    grey = g.add(f"{name}/luma", ops.luma, image=clean)
    drawn = g.add(f"{name}/edges", ops.edges, image=grey, gain=250)
    return g.add(f"{name}/edges/thumbnail", ops.thumbnail, image=drawn, side=side // 2)


def _page(g: Graph, name: str, pictures: list[Ref], side: int) -> None:
    page = g.add(
        f"{name}/page", ops.montage, images=pictures, columns=4, gap=side // 32, background=16
    )
    g.add(f"{name}/png", ops.encode_png, image=page)
