"""Events go through JSON unchanged; what is no event is refused."""

from __future__ import annotations

import json
import pickle
from dataclasses import fields

import pytest
from hypothesis import given
from ledger.samples import any_event

from invariant_dask.errors import EventError, NewerEventsError
from invariant_dask.ledger.coding import from_json, to_json
from invariant_dask.ledger.events import (
    SCHEMA,
    TEXT_LIMIT,
    TYPES,
    Event,
    NodeFailed,
    RunStarted,
    cut,
)

BASE = {"time": 1, "run": "r", "node": "n", "digest": ""}


@given(any_event)
def test_every_event_goes_through_json_and_pickle_unchanged(event: Event) -> None:
    assert from_json(json.loads(json.dumps(to_json(event)))) == event
    assert pickle.loads(pickle.dumps(event)) == event


def test_every_type_is_found_by_its_name_and_has_no_dict() -> None:
    for name, kind in TYPES.items():
        assert kind.event == name
        names = [field.name for field in fields(kind)]
        assert not hasattr(kind(**dict.fromkeys(names)), "__dict__")


def test_types_and_fields_of_newer_versions_are_passed_over() -> None:
    assert from_json({"event": "node.dreamt", "time": 1, "run": "r"}) is None
    told = {**BASE, "event": "node.failed", "colour": "red"}
    assert from_json(told) == NodeFailed(**BASE)  # type: ignore[arg-type]


def test_a_run_always_says_its_schema_and_one_that_would_be_misread_is_refused() -> None:
    told = to_json(RunStarted(time=1, run="r"))
    assert told["schema"] == SCHEMA
    with pytest.raises(NewerEventsError, match="use a newer invariant-dask"):
        from_json({**told, "schema": SCHEMA + 1})


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ([], "names its type"),
        ({"event": 3}, "names its type"),
        ({"event": "node.failed", "time": 1, "run": "r"}, "digest, node must be given"),
        ({**BASE, "event": "node.failed", "error": 3}, "error must be a text"),
        ({**BASE, "event": "node.failed", "time": "1"}, "time must be an integer"),
        ({**BASE, "event": "node.failed", "time": 1.0}, "time must be an integer"),
        ({**BASE, "event": "node.failed", "time": True}, "time must be an integer"),
        ({**BASE, "event": "node.failed", "time": 2**63}, "not a greater one"),
        ({**BASE, "event": "node.failed", "time": -(10**9000)}, "not a greater one"),
        ({**BASE, "event": "node.finished", "kept": 1}, "kept must be true or false"),
        ({**BASE, "event": "node.planned", "inputs": "abc"}, "inputs must be a list of texts"),
        ({**BASE, "event": "node.planned", "inputs": [1]}, "inputs must be a list of texts"),
    ],
)
def test_what_is_no_event_is_refused_with_the_field_and_what_it_must_be(
    told: object, reason: str
) -> None:
    with pytest.raises(EventError, match=reason):
        from_json(told)


@pytest.mark.parametrize("size", [0, TEXT_LIMIT, TEXT_LIMIT + 1, 10**6])
def test_a_long_text_loses_its_middle_once_and_is_not_cut_again(size: int) -> None:
    text = cut("a" * (size // 2) + "b" * (size - size // 2))
    assert len(text) <= TEXT_LIMIT
    assert cut(text) == text
    assert ("left out" in text) == (size > TEXT_LIMIT)
    event = NodeFailed(**BASE, traceback=text)  # type: ignore[arg-type]
    assert from_json(to_json(event)) == event


def test_a_text_that_nobody_cut_is_cut_when_it_is_read() -> None:
    event = from_json({**BASE, "event": "node.failed", "error": "x" * 10**6})
    assert isinstance(event, NodeFailed)
    assert len(event.error) <= TEXT_LIMIT
