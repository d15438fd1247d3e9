"""Operations on photographs: 8-bit arrays in, 8-bit arrays out.

All of them give the same bytes on every machine: they add, multiply, divide and take square roots
of integers and IEEE numbers element by element, and leave what libraries do differently (`exp`,
order of sums) alone. Decoding, resizing and encoding are Pillow's, whose version is therefore part
of the identity of these ops.
"""

from __future__ import annotations

import io
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from invariant_dask.demo.histogram import CHANNELS, LEVELS, Histogram
from invariant_dask.ops.registry import op

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from invariant_dask.store.files import FileHandle

    Image: TypeAlias = NDArray[np.uint8]
    """Height x width x 3 (red, green, blue), or height x width (grey)."""

PATCH = 2
"""Half the width of the patches that `denoise` compares."""

LUMA = (77, 150, 29)
"""Weights of red, green and blue in brightness, of 256 (BT.601)."""


# --- from file to working copy -------------------------------------------------------------------


@op("demo:decode", requires=("pillow",))
def decode(file: FileHandle) -> Image:
    """Decode an image file into red, green and blue, upright."""
    from PIL import Image as Pillow
    from PIL import ImageOps

    with file.open() as stream, Pillow.open(stream) as picture:
        upright = ImageOps.exif_transpose(picture)
        return np.array(upright.convert("RGB"))


@op("demo:fit", requires=("pillow",))
def fit(image: Image, side: int) -> Image:
    """Scale a picture down so that its longer side is at most `side`; never up."""
    height, width = image.shape[:2]
    if max(height, width) <= side:
        return image
    if height >= width:
        return _resized(image, side, max(1, (width * side + height // 2) // height))
    return _resized(image, max(1, (height * side + width // 2) // width), side)


@op("demo:thumbnail", requires=("pillow",))
def thumbnail(image: Image, side: int) -> Image:
    """Cut the middle square out of a picture and scale it to `side` x `side`."""
    height, width = image.shape[:2]
    edge = min(height, width)
    top, left = (height - edge) // 2, (width - edge) // 2
    return _resized(image[top : top + edge, left : left + edge], side, side)


def _resized(image: Image, height: int, width: int) -> Image:
    from PIL import Image as Pillow

    picture = Pillow.fromarray(np.ascontiguousarray(image))
    return np.array(picture.resize((width, height), Pillow.Resampling.LANCZOS))


# --- denoising -----------------------------------------------------------------------------------


@op("demo:denoise")
def denoise(image: Image, radius: int, strength: Decimal) -> Image:
    """Remove noise and keep edges: non-local means.

    Each pixel becomes a mean of those around it, weighted by how much their surroundings look
    alike.

    Parameters
    ----------
    image
        Height x width x 3.
    radius
        How far to look, in pixels; the work grows with its square.
    strength
        Standard deviation of the noise, in levels.
    """
    if strength <= 0 or radius < 1:
        return image
    height, width = image.shape[:2]
    planes = np.moveaxis(image, 2, 0).astype(np.float32)
    patches = _Patches(planes, radius)
    # Two noisy copies of one patch differ by twice the variance: there the weight is 1, and it
    # falls to 0 at six times the variance.
    slope = np.float32(-1 / float(4 * Fraction(strength) ** 2))
    weights = np.zeros((height, width), np.float32)
    total = np.zeros_like(planes)
    part = np.empty_like(weights)
    # Writing into the same few arrays: new ones of this size would cost more than the arithmetic.
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            weight = patches.difference(dy, dx)
            weight *= slope
            weight += np.float32(1.5)
            np.clip(weight, 0, 1, out=weight)
            weight *= weight
            weights += weight
            for i in range(CHANNELS):
                np.multiply(weight, patches.neighbours(i, dy, dx), out=part)
                total[i] += part
    clean = np.floor(total / weights + np.float32(0.5)).astype(np.uint8)
    return np.ascontiguousarray(np.moveaxis(clean, 0, 2))


class _Patches:
    """How much the patch around each pixel differs from the one at a distance.

    Sums of squares over a patch are below 2**24, so they are exact in 32-bit floats.
    """

    def __init__(self, planes: NDArray[np.float32], radius: int) -> None:
        _, self.height, self.width = planes.shape
        self.margin = margin = radius + PATCH
        self.padded = np.pad(planes, ((0, 0), (margin, margin), (margin, margin)), "edge")
        tall, wide = self.height + 2 * PATCH, self.width + 2 * PATCH
        self.square = np.empty((tall, wide), np.float32)
        self.squares = np.empty((tall, wide), np.float32)
        self.rows = np.empty((self.height, wide), np.float32)
        self.means = np.empty((self.height, self.width), np.float32)

    def neighbours(self, channel: int, dy: int, dx: int, around: int = 0) -> NDArray[np.float32]:
        """Return what lies at a distance from each pixel, and from those `around` the picture."""
        top, left = self.margin + dy - around, self.margin + dx - around
        rows = slice(top, top + self.height + 2 * around)
        return self.padded[channel, rows, left : left + self.width + 2 * around]

    def difference(self, dy: int, dx: int) -> NDArray[np.float32]:
        """Return the mean squared difference per patch; the array is reused by the next call."""
        self.squares[:] = 0
        for i in range(CHANNELS):
            here, there = self.neighbours(i, 0, 0, PATCH), self.neighbours(i, dy, dx, PATCH)
            np.subtract(here, there, out=self.square)
            np.multiply(self.square, self.square, out=self.square)
            self.squares += self.square
        size = 2 * PATCH + 1
        self.rows[:] = self.squares[: self.height]
        for i in range(1, size):
            self.rows += self.squares[i : i + self.height]
        self.means[:] = self.rows[:, : self.width]
        for i in range(1, size):
            self.means += self.rows[:, i : i + self.width]
        self.means /= np.float32(CHANNELS * size * size)
        return self.means


# --- light and detail ----------------------------------------------------------------------------


@op("demo:histogram")
def histogram(image: Image) -> Histogram:
    """Count the levels of each channel."""
    channels = [image[..., i].ravel() for i in range(CHANNELS)]
    return Histogram(np.bincount(channel, minlength=LEVELS).tolist() for channel in channels)


@op("demo:tone")
def tone(image: Image, statistics: Histogram, strength: Decimal) -> Image:
    """Stretch the levels that occur to the full range, and add contrast by a curve.

    Parameters
    ----------
    image
        Any 8-bit picture.
    statistics
        Its histogram; half a percent of the samples may be clipped at each end.
    strength
        From 0 (no curve) to 1 (a full S: 3t^2 - 2t^3).
    """
    black = statistics.quantile(Fraction(1, 200))
    white = max(statistics.quantile(Fraction(199, 200)), black + 1)
    curve = [_toned(level, black, white, Fraction(strength)) for level in range(LEVELS)]
    toned: Image = np.array(curve, np.uint8)[image]
    return toned


def _toned(level: int, black: int, white: int, strength: Fraction) -> int:
    position = min(max(Fraction(level - black, white - black), Fraction(0)), Fraction(1))
    bent = position + strength * (3 * position**2 - 2 * position**3 - position)
    return int(min(max(bent, Fraction(0)), Fraction(1)) * (LEVELS - 1) + Fraction(1, 2))


@op("demo:sharpen")
def sharpen(image: Image, amount: Decimal) -> Image:
    """Add back what a small blur takes away (unsharp mask)."""
    share = Fraction(amount)
    pixels = image.astype(np.int64)
    blurred = _blurred(pixels)  # 16 times too bright, so that nothing is rounded
    detail = (16 * pixels - blurred) * share.numerator
    added = detail // (16 * share.denominator)
    return np.clip(pixels + added, 0, LEVELS - 1).astype(np.uint8)


def _blurred(pixels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return 16 times the binomial mean over 3 x 3 pixels."""
    rows = _neighbours(pixels, 0)
    down = rows[0] + 2 * pixels + rows[1]
    columns = _neighbours(down, 1)
    blurred: NDArray[np.int64] = columns[0] + 2 * down + columns[1]
    return blurred


def _neighbours(pixels: NDArray[Any], axis: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the pixels before and behind along an axis, the border repeated."""
    count = pixels.shape[axis]
    before = np.maximum(np.arange(count) - 1, 0)
    behind = np.minimum(np.arange(count) + 1, count - 1)
    return pixels.take(before, axis), pixels.take(behind, axis)


@op("demo:luma")
def luma(image: Image) -> Image:
    """Return the brightness of each pixel."""
    grey: Image = ((_brightness(image) + 128) >> 8).astype(np.uint8)
    return grey


def _brightness(image: Image) -> NDArray[np.int32]:
    """Return the brightness of each pixel, times 256."""
    red, green, blue = (image[..., i].astype(np.int32) for i in range(CHANNELS))
    brightness: NDArray[np.int32] = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
    return brightness


@op("demo:edges")
def edges(image: Image, gain: int) -> Image:
    """Return how steep brightness is at each pixel (Sobel), in percent of `gain`."""
    pixels = image.astype(np.int64)
    above, below = _neighbours(pixels, 0)
    left, right = _neighbours(pixels, 1)
    down, across = below - above, right - left
    gy = sum(_neighbours(down, 1)) + 2 * down
    gx = sum(_neighbours(across, 0)) + 2 * across
    # 4 is the sum of the weights on each side; IEEE square roots are exact to the last bit.
    steep = np.sqrt((gx * gx + gy * gy).astype(np.float64)) * gain / (4 * 100)
    drawn: Image = np.minimum(np.floor(steep), LEVELS - 1).astype(np.uint8)
    return drawn


# --- colours and pages ---------------------------------------------------------------------------


@op("demo:palette", requires=("pillow",))
def palette(image: Image, colours: int) -> list[tuple[int, int, int]]:
    """Return the main colours of a picture (median cut), the most frequent first."""
    from PIL import Image as Pillow

    reduced = Pillow.fromarray(image).quantize(colours, Pillow.Quantize.MEDIANCUT)
    table = np.array(reduced.getpalette(), np.uint8).reshape(-1, CHANNELS).tolist()
    counts = np.bincount(np.asarray(reduced).ravel())
    order = sorted(np.flatnonzero(counts).tolist(), key=lambda index: (-counts[index], index))
    return [(table[index][0], table[index][1], table[index][2]) for index in order]


@op("demo:card")
def card(image: Image, colours: list[tuple[int, int, int]], strip: int) -> Image:
    """Put a strip with the given colours under a picture."""
    height, width = image.shape[:2]
    page = np.zeros((height + strip, width, CHANNELS), np.uint8)
    page[:height] = image
    for i, colour in enumerate(colours):
        page[height:, i * width // len(colours) : (i + 1) * width // len(colours)] = colour
    return page


@op("demo:montage")
def montage(images: list[Image], columns: int, gap: int, background: int) -> Image:
    """Lay out pictures of one size in rows, with the same gap between and around them.

    Raises
    ------
    ValueError
        If there are none, or they differ in size.
    """
    shapes = sorted({image.shape for image in images})
    if len(shapes) != 1:
        msg = f"a montage takes pictures of one size, not {shapes or 'none'}"
        raise ValueError(msg)
    height, width, *depth = shapes[0]
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    size = (rows * (height + gap) + gap, columns * (width + gap) + gap, *depth)
    page = np.full(size, background, np.uint8)
    for i, image in enumerate(images):
        top = gap + i // columns * (height + gap)
        left = gap + i % columns * (width + gap)
        page[top : top + height, left : left + width] = image
    return page


@op("demo:encode_png", requires=("pillow",))
def encode_png(image: Image) -> bytes:
    """Encode a picture as a PNG file."""
    from PIL import Image as Pillow

    stream = io.BytesIO()
    Pillow.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


@op("demo:summary")
def summary(
    names: list[str],
    statistics: list[Histogram],
    palettes: list[list[tuple[int, int, int]]],
) -> str:
    """Write the statistics of several pictures as a table."""
    header = ["picture", "pixels", "mean", "5%", "median", "95%", "contrast", "main colours"]
    rows = [header]
    for name, found, colours in zip(names, statistics, palettes, strict=True):
        low, middle, high = (found.quantile(Fraction(n, 100)) for n in (5, 50, 95))
        shown = " ".join("#{:02x}{:02x}{:02x}".format(*colour) for colour in colours)
        numbers = [found.pixels, _tenths(found.mean()), low, middle, high, high - low]
        rows.append([name, *map(str, numbers), shown])
    widths = [max(len(row[i]) for row in rows) for i in range(len(header) - 1)]
    return "".join(_line(row, widths) for row in rows)


def _tenths(number: Fraction) -> str:
    tenths = round(number * 10)
    return f"{tenths // 10}.{tenths % 10}"


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [row[0].ljust(widths[0])]
    cells += [cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:], strict=True)]
    return "  ".join([*cells, row[-1]]) + "\n"
