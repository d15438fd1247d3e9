"""The examples of FORMAT.md are what the encoder gives."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vectors import names, reference

import invariant_dask
from invariant_dask.core import digest
from invariant_dask.core import encode as enc
from invariant_dask.core.cbor import head
from invariant_dask.core.digest import blob_id
from invariant_dask.core.encode import encode, stable_hash
from invariant_dask.ops.numeric import DECIMAL_CONTEXT
from invariant_dask.ops.surroundings import FixedSurroundings

PAGE = (Path(invariant_dask.__file__).parent / "core" / "FORMAT.md").read_text()
TABLE = PAGE.partition("### 3.1 Examples")[2].partition("###")[0]


NAMES = {
    "Decimal": decimal.Decimal,
    "Fraction": names.NAMESPACE["F"],
    "array": np.array,
    **vars(dt),
}


def evaluate(text: str) -> Any:
    return eval(text, dict(NAMES))


def examples() -> list[tuple[str, str]]:
    found = []
    for line in TABLE.splitlines():
        cells = [re.findall(r"`([^`]+)`", cell) for cell in line.split("|")[1:3]]
        if len(cells) == 2 and cells[0]:
            found += list(zip(*cells, strict=True))
    return found


@pytest.mark.parametrize(("value", "expected"), examples())
def test_example(value, expected) -> None:
    assert encode(evaluate(value)).identity.hex() == expected
    assert reference.identity(evaluate(value)).hex() == expected


def test_the_page_has_examples() -> None:
    assert len(examples()) >= 30
    for tag in (2, 3, 30, *range(48800, 48809)):  # the others are in the section on manifests
        assert any(head(6, tag).hex() in expected for _, expected in examples()), tag


def test_hashes_on_the_page() -> None:
    for value in (1, "1"):
        assert stable_hash(value).hex()[:12] in PAGE
    for data in (b"", b"a"):
        assert blob_id(data).hex()[:12] in PAGE


def test_manifests_on_the_page() -> None:
    stored = json.loads((Path(reference.__file__).parent / "manifests.json").read_text())
    by_name = {vector["name"]: vector for vector in stored["manifests"]}
    for name in ("resolved", "planned"):
        assert f"`{by_name[name]['manifest']}`" in PAGE
        assert f"`{by_name[name]['digest'][:12]}...`" in PAGE


def test_every_domain_is_on_the_page() -> None:
    domains = [value for name, value in vars(digest).items() if name.startswith("DOMAIN_")]
    assert len(set(domains)) == len(domains) >= 7
    for domain in domains:
        assert f"`{domain[:-1].decode()}\\0`" in PAGE


def test_the_surroundings_are_those_on_the_page() -> None:
    section = PAGE.partition("## 5.")[2].partition("## 6.")[0]
    assert f"{DECIMAL_CONTEXT.prec} digits" in section
    assert f"{DECIMAL_CONTEXT.Emin:,} to {DECIMAL_CONTEXT.Emax:,}" in " ".join(section.split())
    with FixedSurroundings():
        assert set(np.geterr().values()) == {"ignore"}
        assert decimal.getcontext().rounding == decimal.ROUND_HALF_EVEN
        for trap in (decimal.Inexact, decimal.Overflow, decimal.Underflow, decimal.DivisionByZero,
                     decimal.InvalidOperation):  # fmt: skip
            assert decimal.getcontext().traps[trap]


def test_every_tag_and_limit_is_on_the_page() -> None:
    tags = [value for name, value in vars(enc).items() if name.startswith("TAG_")]
    for number in (*tags, enc.DESCRIPTOR_LIMIT, enc.MAX_DEPTH):
        assert re.search(rf"\b{number}\b", PAGE), number
    assert "32,768" in PAGE
    assert enc.INLINE_LIMIT == 32_768
