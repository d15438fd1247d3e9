"""The examples of FORMAT.md are what the encoder gives."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

import invariant_dask
from invariant_dask.core import encode as enc
from invariant_dask.core.encode import encode, stable_hash

PAGE = (Path(invariant_dask.__file__).parent / "core" / "FORMAT.md").read_text()
TABLE = PAGE.partition("### 3.1 Examples")[2].partition("###")[0]


def examples() -> list[tuple[str, str]]:
    found = []
    for line in TABLE.splitlines():
        cells = [re.findall(r"`([^`]+)`", cell) for cell in line.split("|")[1:3]]
        if len(cells) == 2 and cells[0]:
            found += list(zip(*cells, strict=True))
    return found


@pytest.mark.parametrize(("value", "expected"), examples())
def test_example(value, expected) -> None:
    parsed = eval(value, {"Decimal": Decimal, "Fraction": Fraction})
    assert encode(parsed).identity.hex() == expected


def test_the_page_has_examples() -> None:
    assert len(examples()) >= 15


def test_hashes_on_the_page() -> None:
    for value in (1, "1"):
        assert stable_hash(value).hex()[:12] in PAGE


def test_every_tag_and_limit_is_on_the_page() -> None:
    tags = [value for name, value in vars(enc).items() if name.startswith("TAG_")]
    for number in (*tags, enc.DESCRIPTOR_LIMIT, enc.MAX_DEPTH):
        assert re.search(rf"\b{number}\b", PAGE), number
    assert "32,768" in PAGE
    assert enc.INLINE_LIMIT == 32_768
