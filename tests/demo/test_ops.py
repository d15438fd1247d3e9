"""The demo's ops do to pictures what they say."""

from __future__ import annotations

import io
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image as Pillow

from invariant_dask.demo import ops
from invariant_dask.demo.pipeline import photographs

pictures = hnp.arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12), st.just(3)))


class Handle:
    """An input file as an op sees it."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def open(self) -> io.BytesIO:
        return io.BytesIO(self.data)


def flat(level: int, height: int = 8, width: int = 8) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    return ops.fit(ops.decode(Handle(photographs()["astronaut"].read_bytes())), 96)


@pytest.fixture(scope="module")
def noisy() -> np.ndarray:
    """Dark to the left of column 24, bright to the right, with noise."""
    picture = np.full((40, 48, 3), 60, np.int64)
    picture[:, 24:] = 190
    # Grey noise, the same in all channels, as a sensor's.
    noise = np.random.default_rng(7).normal(0, 8, (40, 48, 1))
    return np.clip(picture + np.rint(noise), 0, 255).astype(np.uint8)


# --- decode, fit, thumbnail ---


def test_decode_gives_the_pixels_of_a_real_photograph() -> None:
    path = photographs()["coffee"]
    found = ops.decode(Handle(path.read_bytes()))
    assert found.shape == (400, 600, 3)
    assert found.dtype == np.uint8
    assert np.array_equal(found, np.asarray(Pillow.open(path)))


def test_decode_gives_grey_pictures_three_equal_channels() -> None:
    found = ops.decode(Handle(photographs()["camera"].read_bytes()))
    assert found.shape == (512, 512, 3)
    assert np.array_equal(found[..., 0], found[..., 2])


def test_decode_turns_pictures_upright() -> None:
    exif = Pillow.Exif()
    exif[0x0112] = 6  # the camera was held on its side
    stream = io.BytesIO()
    Pillow.fromarray(flat(9, 4, 10)).save(stream, "JPEG", exif=exif)
    assert ops.decode(Handle(stream.getvalue())).shape == (10, 4, 3)


@pytest.mark.parametrize(
    ("shape", "side", "expected"),
    [
        ((100, 200), 50, (25, 50)),
        ((200, 100), 50, (50, 25)),
        ((30, 40), 50, (30, 40)),
        ((1, 1000), 100, (1, 100)),
    ],
)
def test_fit_scales_the_longer_side_down_and_never_up(shape, side, expected) -> None:
    assert ops.fit(flat(3, *shape), side).shape[:2] == expected


def test_thumbnail_shows_the_middle_square() -> None:
    picture = flat(0, 20, 60)
    picture[:, 20:40] = 200
    small = ops.thumbnail(picture, 10)
    assert small.shape == (10, 10, 3)
    assert (small == 200).all()
    assert ops.thumbnail(picture[..., 0], 10).shape == (10, 10)


# --- denoise ---


def test_denoise_removes_noise_from_flat_regions_and_keeps_the_edge(noisy: np.ndarray) -> None:
    clean = ops.denoise(noisy, radius=5, strength=Decimal(8))
    for columns in (slice(2, 18), slice(30, 46)):
        before, after = noisy[4:-4, columns, 0], clean[4:-4, columns, 0]
        assert after.std() < before.std() / 3
        assert abs(after.mean() - before.mean()) < 1
    step = clean[:, 24, 0].astype(int) - clean[:, 23, 0]
    assert step.mean() > 120  # of 130


def test_denoise_of_strength_zero_changes_nothing(noisy: np.ndarray) -> None:
    assert np.array_equal(ops.denoise(noisy, 3, Decimal(0)), noisy)


def test_denoise_more_the_stronger(noisy: np.ndarray) -> None:
    left = np.s_[4:-4, 2:18, 0]
    weak = ops.denoise(noisy, 4, Decimal(3))[left].std()
    strong = ops.denoise(noisy, 4, Decimal(9))[left].std()
    assert strong < weak < noisy[left].std()


@given(pictures, st.integers(1, 4))
@settings(max_examples=20, deadline=None)
def test_denoise_is_the_formula_it_says(picture: np.ndarray, radius: int) -> None:
    """Against the definition, pixel by pixel, borders repeated."""
    sigma, patch = 20, ops.PATCH
    margin = radius + patch
    padded = np.pad(picture.astype(float), ((margin,) * 2, (margin,) * 2, (0, 0)), "edge")

    def around(y: int, x: int) -> np.ndarray:
        return padded[y - patch : y + patch + 1, x - patch : x + patch + 1]

    found = ops.denoise(picture, radius, Decimal(sigma)).astype(int)
    height, width, _ = picture.shape
    for y in range(0, height, 3):
        for x in range(0, width, 3):
            here, total, weights = (y + margin, x + margin), np.zeros(3), 0.0
            for dy in range(-radius, radius + 1):
                for dx in range(-radius, radius + 1):
                    there = (here[0] + dy, here[1] + dx)
                    distance = ((around(*here) - around(*there)) ** 2).mean()
                    weight = min(max(1.5 - distance / (4 * sigma**2), 0), 1) ** 2
                    total += weight * padded[there]
                    weights += weight
            assert abs(found[y, x] - total / weights).max() <= 0.51


@given(st.integers(0, 255))
def test_denoise_leaves_constant_pictures_alone(level: int) -> None:
    assert (ops.denoise(flat(level), 2, Decimal(5)) == level).all()


# --- tone, sharpen ---


def test_tone_of_strength_zero_stretches_to_the_full_range() -> None:
    picture = np.linspace(100, 150, 300).astype(np.uint8).reshape(10, 10, 3)
    toned = ops.tone(picture, ops.histogram(picture), Decimal(0))
    assert toned.min() == 0
    assert toned.max() == 255
    assert (
        np.diff(toned.ravel()[np.argsort(picture.ravel(), kind="stable")].astype(int)) >= 0
    ).all()


def test_tone_adds_contrast_and_keeps_the_order_of_levels() -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(16, 16, 3)
    found = [
        ops.tone(ramp, ops.histogram(ramp), strength)[..., 0].ravel().astype(int)
        for strength in (Decimal(0), Decimal("0.5"), Decimal(1))
    ]
    assert all((np.diff(levels) >= 0).all() for levels in found)
    assert found[0][64] > found[1][64] > found[2][64]
    assert found[0][192] < found[1][192] < found[2][192]
    assert found[2][127] == found[0][127]


def test_tone_of_a_flat_picture_is_flat() -> None:
    assert np.ptp(ops.tone(flat(80), ops.histogram(flat(80)), Decimal(1))) == 0


def test_sharpen_steepens_edges_and_leaves_flat_regions_alone() -> None:
    picture = flat(100, 8, 12)
    picture[:, 6:] = 150
    crisp = ops.sharpen(picture, Decimal("0.8")).astype(int)
    assert (crisp[:, :4] == 100).all()
    assert (crisp[:, 8:] == 150).all()
    assert (crisp[:, 5] < 100).all()
    assert (crisp[:, 6] > 150).all()
    assert np.array_equal(ops.sharpen(picture, Decimal(0)), picture)


# --- luma, edges ---


@given(st.integers(0, 255), st.integers(1, 500))
def test_a_constant_picture_has_its_own_brightness_and_no_edges(level: int, gain: int) -> None:
    grey = ops.luma(flat(level))
    assert (grey == level).all()
    assert not ops.edges(grey, gain).any()


def test_green_is_brighter_than_red_than_blue() -> None:
    red, green, blue = (ops.luma(np.eye(3, dtype=np.uint8)[None, None, i] * 200) for i in range(3))
    assert green > red > blue


@given(st.integers(1, 120))
def test_edges_measure_the_height_of_a_step_whatever_its_direction(height: int) -> None:
    upright = np.zeros((6, 6), np.uint8)
    upright[:, 3:] = height
    found = ops.edges(upright, 100)
    assert (found[:, 2:4] == height).all()
    assert not found[:, :2].any()
    assert not found[:, 4:].any()
    assert np.array_equal(ops.edges(upright.T, 100), found.T)


# --- palette, card, montage, PNG, summary ---


def test_palette_lists_the_colours_of_a_picture_by_frequency() -> None:
    picture = flat(0, 10, 10)
    picture[:6] = (200, 30, 30)
    picture[6:9] = (10, 10, 220)
    assert ops.palette(picture, 3) == [(200, 30, 30), (10, 10, 220), (0, 0, 0)]


def test_card_shows_the_picture_above_the_colours() -> None:
    picture = flat(77, 6, 7)
    page = ops.card(picture, [(1, 2, 3), (4, 5, 6)], strip=2)
    assert page.shape == (8, 7, 3)
    assert np.array_equal(page[:6], picture)
    assert page[6, 0].tolist() == [1, 2, 3]
    assert page[7, 6].tolist() == [4, 5, 6]
    assert page[6:].any(axis=2).all()  # no pixel of the strip is left over


@given(st.integers(1, 9), st.integers(1, 5), st.integers(0, 4), st.booleans())
def test_montage_puts_every_picture_in_its_place(count, columns, gap, grey) -> None:
    height, width = 3, 5
    pictures = [flat(i + 1, height, width) for i in range(count)]
    if grey:
        pictures = [picture[..., 0] for picture in pictures]
    page = ops.montage(pictures, columns, gap, 255)
    columns = min(columns, count)
    rows = (count + columns - 1) // columns
    assert page.shape[:2] == (rows * (height + gap) + gap, columns * (width + gap) + gap)
    for i in range(count):
        top = gap + i // columns * (height + gap)
        left = gap + i % columns * (width + gap)
        assert (page[top : top + height, left : left + width] == i + 1).all()
    channels = 1 if grey else 3
    assert (page != 255).sum() == count * height * width * channels


@pytest.mark.parametrize("pictures", [[], [flat(1, 3, 3), flat(1, 3, 4)]])
def test_montage_refuses_pictures_that_do_not_fit(pictures) -> None:
    with pytest.raises(ValueError, match="pictures of one size"):
        ops.montage(pictures, 2, 1, 0)


@given(pictures)
@settings(max_examples=20)
def test_a_png_holds_the_same_pixels(picture: np.ndarray) -> None:
    for image in (picture, picture[..., 0]):
        back = np.asarray(Pillow.open(io.BytesIO(ops.encode_png(image))))
        assert np.array_equal(back, image)


def test_summary_has_a_line_for_each_picture() -> None:
    found = [ops.histogram(flat(10)), ops.histogram(flat(200, 4, 4))]
    text = ops.summary(["dark", "bright"], found, [[(10, 10, 10)], [(200, 200, 200)]])
    header, dark, bright = text.splitlines()
    assert header.startswith("picture")
    assert dark.split() == ["dark", "64", "10.0", "10", "10", "10", "0", "#0a0a0a"]
    assert bright.split() == ["bright", "16", "200.0", "200", "200", "200", "0", "#c8c8c8"]


# --- all of them ---


def run_all(image: np.ndarray) -> list[object]:
    clean = ops.denoise(image, 2, Decimal(6))
    seen = ops.histogram(clean)
    toned = ops.tone(clean, seen, Decimal("0.4"))
    crisp = ops.sharpen(toned, Decimal("0.8"))
    drawn = ops.edges(ops.luma(clean), 200)
    return [clean, seen, toned, crisp, drawn, ops.palette(clean, 6), ops.encode_png(crisp)]


def test_ops_give_the_same_result_again_and_leave_their_input_alone(astronaut: np.ndarray) -> None:
    before = astronaut.copy()
    astronaut.setflags(write=False)  # as ops get it
    first, second = run_all(astronaut), run_all(astronaut)
    assert np.array_equal(astronaut, before)
    for one, other in zip(first, second, strict=True):
        assert np.array_equal(one, other) if isinstance(one, np.ndarray) else one == other


def test_a_real_photograph_loses_noise_but_not_its_edges(astronaut: np.ndarray) -> None:
    clean = ops.denoise(astronaut, 4, Decimal(6))
    before, after = (
        ops.edges(ops.luma(picture), 100).astype(int) for picture in (astronaut, clean)
    )
    assert after[before < 10].mean() < before[before < 10].mean()
    assert after[before > 60].mean() > 0.85 * before[before > 60].mean()
    assert abs(ops.histogram(clean).mean() - ops.histogram(astronaut).mean()) < Fraction(1)


def test_every_photograph_decodes() -> None:
    for name, path in photographs().items():
        found = ops.decode(Handle(Path(path).read_bytes()))
        assert min(found.shape[:2]) >= 300, name
        assert np.ptp(found) > 100, name
