"""`ops list` and `ops show`, and the JSON Schema of type hints."""

from __future__ import annotations

import datetime as dt
import json
import sys
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, NewType, TypedDict, TypeVar

import pytest
from click.testing import CliRunner, Result

from invariant_dask import OpRegistry, cacheable, default_registry
from invariant_dask.cli.app import app
from invariant_dask.cli.schema import input_schema, output_schema, schema_of

OWN = '''
from __future__ import annotations
import time
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from nowhere import Ghost
from invariant_dask import op

SCALE = 3

def helper(x):
    return x * SCALE

@op("climine:scaled")
def scaled(x: int, mode: str = "fast", ghost: Ghost | None = None) -> list[int]:
    """Scale a number.

    At length.
    """
    return [getattr(time, mode)] and [helper(x)]

@op("climine:declared", version="7")
def declared(x):
    return x
'''


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(OWN)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    for name in ("climine:scaled", "climine:declared"):
        default_registry()._ops.pop(name, None)
    return tmp_path


def cli(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == code, result.output
    return result


def test_list_shows_libraries_and_installed_packages() -> None:
    printed = cli("ops", "list").stdout
    assert "stdlib:add(a, b)\n" in printed
    assert "poly:add(a, b)\n" in printed
    assert "gfx:create_solid(" in printed


def test_list_takes_a_prefix() -> None:
    lines = cli("ops", "list", "stdlib:dict_").stdout.splitlines()
    assert lines
    assert all(line.startswith("stdlib:dict_") for line in lines)
    assert lines == sorted(lines)


def test_list_of_nothing_is_exit_code_1() -> None:
    assert "starts with 'stdlib:nope'" in cli("ops", "list", "stdlib:nope", code=1).stderr


def test_show_says_what_own_code_is_identified_by_and_what_is_not_seen() -> None:
    printed = cli("ops", "show", "climine:scaled", "--import", "mine.py").stdout
    assert "climine:scaled(x: int, mode: str = 'fast', ghost: Ghost | None = None)" in printed
    assert "  Scale a number.\n" in printed
    assert 'x (required): {"type":"integer"}' in printed
    assert 'mode: {"default":"fast","type":"string"}' in printed
    assert '{"items":{"type":"integer"},"type":"array"}' in printed
    assert "identity: code " in printed
    assert "sees constant mine.SCALE" in printed
    assert "sees function mine.helper" in printed
    assert "cannot see scaled line" in printed
    assert "no identity sees clocks" in printed


def test_show_as_json_holds_the_same() -> None:
    told = json.loads(
        cli("ops", "show", "climine:declared", "--json", "--import", "mine.py").stdout
    )
    assert told["identity"]["kind"] == "version"
    assert told["identity"]["value"] == "7"
    assert told["input"]["required"] == ["x"]
    assert "function mine.declared" in told["code"]["parts"]


def test_show_of_an_installed_op_names_its_distribution() -> None:
    printed = cli("ops", "show", "gfx:create_solid").stdout
    assert "identity: installed invariant-gfx==" in printed
    assert "not its code" in printed


def test_show_of_an_unknown_op_names_close_ones() -> None:
    assert "'stdlib:add'" in cli("ops", "show", "stdlib:ad", code=2).stderr


# --- schemas ---

T = TypeVar("T")
Size = NewType("Size", int)


class Options(TypedDict, total=False):
    level: int


@cacheable(version="1")
@dataclass(frozen=True)
class Box:
    left: int
    name: str


@pytest.mark.parametrize(
    ("hint", "schema"),
    [
        (int, {"type": "integer"}),
        (None, {"type": "null"}),
        (Any, {}),
        (T, {}),
        (Size, {"type": "integer"}),
        (Annotated[str, "a note"], {"type": "string"}),
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (Sequence[bool], {"type": "array", "items": {"type": "boolean"}}),
        (dict[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
        (Mapping[str, Any], {"type": "object"}),
        (typing.Optional[int], {"anyOf": [{"type": "integer"}, {"type": "null"}]}),  # noqa: UP045
        (int | int, {"type": "integer"}),
        (int | Any, {}),
        (Literal["a", 1], {"enum": ["a", 1]}),
        (Decimal, {"$ref": "#/$defs/decimal"}),
        (bytes, {"$ref": "#/$defs/bytes"}),
        (Fraction, {"$ref": "#/$defs/fraction"}),
        (dt.date, {"$ref": "#/$defs/date"}),
        (complex, {"description": "complex"}),
    ],
)  # fmt: skip
def test_schema_says_what_a_hint_allows_in_a_document(hint, schema) -> None:
    assert schema_of(hint) == schema


def test_schema_of_a_tuple_is_that_of_its_marker() -> None:
    assert schema_of(tuple[int, ...])["properties"]["$tuple"] == {
        "type": "array", "items": {"type": "integer"},
    }  # fmt: skip
    pair = schema_of(tuple[int, str])["properties"]["$tuple"]
    assert pair["prefixItems"] == [{"type": "integer"}, {"type": "string"}]
    assert pair["minItems"] == pair["maxItems"] == 2


def test_schema_of_a_typed_dict_and_of_a_registered_class_has_fields() -> None:
    assert schema_of(Options) == {
        "type": "object", "properties": {"level": {"type": "integer"}}, "required": [],
    }  # fmt: skip


def test_schema_of_an_op_holds_the_definitions_it_refers_to() -> None:
    def scale(x: Decimal, *, by: list[Fraction] | None = None, **more: int) -> bytes:
        raise NotImplementedError

    op = OpRegistry().register("test:scale", scale, version="1")
    schema = input_schema(op)
    assert schema["required"] == ["x"]
    assert schema["properties"]["by"]["default"] is None
    assert schema["additionalProperties"] == {"type": "integer"}
    assert schema["$defs"].keys() == {"decimal", "fraction"}
    assert output_schema(op)["$defs"].keys() == {"bytes"}


def test_schema_of_an_op_without_hints_allows_all() -> None:
    op = OpRegistry().register("test:any", lambda x: x, version="1")
    assert input_schema(op)["properties"] == {"x": {}}


def test_show_tells_which_hints_cannot_be_checked() -> None:
    output = cli("ops", "show", "climine:scaled", "--import", "mine.py").output
    assert "not checked: ghost, as its hint 'Ghost | None' cannot be evaluated here" in output
    told = json.loads(cli("ops", "show", "climine:scaled", "--json", "--import", "mine.py").output)
    assert told["unchecked"] == {"ghost": "Ghost | None"}
