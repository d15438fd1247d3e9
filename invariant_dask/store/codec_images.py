"""Images of Pillow: mode, size, pixels, palette, and what decides how pixels look.

Where an image came from is dropped, so that equal pixels are equal values: its file name and
format, and what `info` says beyond transparency, the colour profile and gamma.
"""

from __future__ import annotations

from typing import Any

from PIL import Image

from invariant_dask.core.encode import encode
from invariant_dask.errors import IntegrityError, NotCacheableError

_INFO = "gamma", "icc_profile", "transparency"


def image_to_value(image: Image.Image) -> dict[str, Any]:
    """Take an image apart.

    Raises
    ------
    NotCacheableError
        If it has several frames.
    """
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise NotCacheableError(
            reason=f"an image of {frames} frames; pass a list with a copy of each"
        )
    image.load()
    palette = None
    if image.palette is not None and image.mode in {"P", "PA"}:
        palette = [image.palette.mode, bytes(image.getpalette(image.palette.mode) or ())]
    info = {name: image.info[name] for name in _INFO if image.info.get(name) is not None}
    gamma = info.get("gamma")
    if isinstance(gamma, float):
        info["gamma"] = gamma.hex()
    for name, value in info.items():
        try:
            encode(value)
        except NotCacheableError as error:
            raise error.within(f".info[{name!r}]") from None
    return {
        "data": image.tobytes(),
        "info": info,
        "mode": image.mode,
        "palette": palette,
        "size": list(image.size),
    }


def image_from_value(value: dict[str, Any]) -> Image.Image:
    """Put an image together."""
    width, height = value["size"]
    mode, data = value["mode"], value["data"]
    # Pillow makes room for all pixels before it looks whether they are there.
    if width < 0 or height < 0 or width * height > len(data) * (8 if mode == "1" else 1):
        raise IntegrityError(f"an image of {width} x {height} pixels in {len(data)} bytes")
    image = Image.frombytes(mode, (width, height), data)
    if value["palette"] is not None:
        colour_mode, colours = value["palette"]
        image.putpalette(colours, colour_mode)
    info = dict(value["info"])
    if isinstance(info.get("gamma"), str):
        info["gamma"] = float.fromhex(info["gamma"])
    image.info = info
    return image
