"""The critical path is the longest there is, by trying all."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from invariant_dask.view.critical import longest_path


@st.composite
def graphs(draw: st.DrawFn) -> tuple[dict[str, int], dict[str, tuple[str, ...]]]:
    count = draw(st.integers(0, 8))
    names = draw(st.permutations([f"n{i}" for i in range(count)]))
    durations = {name: draw(st.integers(0, 5)) for name in names}
    inputs = {
        name: tuple(draw(st.lists(st.sampled_from([*names[:place], "unknown"]), max_size=4)))
        for place, name in enumerate(names)
    }
    return durations, inputs


def all_paths(durations: dict, inputs: dict, last: str) -> list[list[str]]:
    ends = [[last]]
    for source in inputs[last]:
        if source in durations:
            ends += [[*path, last] for path in all_paths(durations, inputs, source)]
    return ends


@given(graphs())
def test_no_path_takes_longer_than_the_critical_one(given_: tuple[dict, dict]) -> None:
    durations, inputs = given_
    length, path = longest_path(durations, inputs)
    longest = max(
        (
            sum(durations[name] for name in each)
            for last in durations
            for each in all_paths(durations, inputs, last)
        ),
        default=0,
    )
    assert length == longest == sum(durations[name] for name in path)
    assert all(before in inputs[after] for before, after in pairwise(path))


@given(graphs(), st.randoms())
def test_it_is_the_same_path_whatever_the_order(given_: tuple[dict, dict], random: object) -> None:
    durations, inputs = given_
    names = list(durations)
    random.shuffle(names)
    shuffled = {name: durations[name] for name in names}
    turned = {name: inputs[name][::-1] for name in names}
    assert longest_path(shuffled, turned) == longest_path(durations, inputs)


def test_nodes_that_wait_for_one_another_are_left_out() -> None:
    durations = {"a": 5, "b": 5, "c": 1}
    assert longest_path(durations, {"a": ("b",), "b": ("a",)}) == (1, ["c"])


def test_a_chain_of_a_hundred_thousand_is_no_trouble() -> None:
    count = 100_000
    durations = {f"n{i}": 1 for i in range(count)}
    length, path = longest_path(durations, {f"n{i}": (f"n{i - 1}",) for i in range(1, count)})
    assert (length, len(path)) == (count, count)
