"""Whatever tiers fail, are wiped or damaged: a chain never gives a wrong answer, nor loses any."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from invariant_dask.core.encode import encode
from invariant_dask.errors import ArtifactNotFoundError, StoreUnavailableError
from invariant_dask.store import About, ChainStore, DiskStore, MemoryStore, Tier
from invariant_dask.testing import FlakyStore, damage_entry, sample_manifest, sample_planned

NAMES = st.sampled_from("abcd")
VALUES = st.one_of(st.integers(), st.sampled_from([b"x" * 40_000, b"y" * 40_000]))
PLACES = st.integers(0, 2)


class ChainMachine(RuleBasedStateMachine):
    """The model: what was published last under each name, and which tiers surely have it."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.now = 0.0
        self.memory = MemoryStore("unbounded")
        self.flaky = [
            FlakyStore(self.memory),
            FlakyStore(DiskStore(self.folder / "middle")),
            FlakyStore(DiskStore(self.folder / "far")),
        ]
        self.chain = ChainStore(
            self.flaky[0], self.flaky[1], Tier(self.flaky[2], write="behind"),
            clock=lambda: self.now,
        )  # fmt: skip
        self.values: dict[str, object] = {}
        self.kept: dict[str, set[int]] = {}
        """Tiers that have an artifact, as far as that is certain."""

    def note(self, name: str) -> None:
        digest = sample_planned(name)
        self.settle()
        self.kept[name] = {
            place for place, tier in enumerate(self.flaky) if tier.inner.exists(digest)
        }

    @rule(name=NAMES, value=VALUES)
    def publish(self, name: str, value: object) -> None:
        if name in self.values:
            value = self.values[name]  # ops are deterministic
        try:
            self.chain.publish(
                encode(value), sample_manifest(name=name), kind="any",
                about=About("sample:op", node=name), planned=sample_planned(name),
            )  # fmt: skip
        except StoreUnavailableError:
            assert any(tier.is_down or live.writing.is_open for tier, live in self.pairs())
            return
        self.values[name] = value
        self.note(name)
        assert self.kept[name] or any(tier.is_down for tier in self.flaky)

    def pairs(self):
        return zip(self.flaky, self.chain._tiers, strict=True)

    @rule(name=NAMES)
    def get(self, name: str) -> None:
        try:
            value = self.chain.get(sample_planned(name))
        except ArtifactNotFoundError:
            self.must_not_have(name)
        except StoreUnavailableError:
            assert all(live.reading.is_open for live in self.chain._tiers)
        else:
            assert value == self.values[name]
            self.note(name)

    def must_not_have(self, name: str) -> None:
        for place in self.kept.get(name, ()):
            tier, live = self.flaky[place], self.chain._tiers[place]
            assert tier.is_down or live.reading.is_open, f"{name} is in tier {place}"

    def settle(self) -> None:
        """Let what is on its way arrive or fail: what a step does must not depend on threads."""
        for live in self.chain._tiers:
            assert live.behind.drain()

    @invariant()
    def lookups_find_what_tiers_in_use_have(self) -> None:
        digests = {name: sample_planned(name) for name in "abcd"}
        self.settle()
        try:
            found = self.chain.lookup(digests.values())
        except StoreUnavailableError:
            return
        for name, digest in digests.items():
            if digest in found:
                assert name in self.values
            else:
                self.must_not_have(name)

    @rule(place=PLACES)
    def go_down(self, place: int) -> None:
        self.flaky[place].is_down = True

    @rule(place=PLACES)
    def come_back(self, place: int) -> None:
        self.flaky[place].is_down = False

    @rule()
    def time_goes_by(self) -> None:
        self.now += 100

    @precondition(lambda self: self.values)
    @rule(data=st.data(), place=PLACES)
    def damage(self, data: st.DataObject, place: int) -> None:
        name = data.draw(st.sampled_from(sorted(self.values)))
        inner, digest = self.flaky[place].inner, sample_planned(name)
        if place in self.kept[name]:
            damage_entry(inner, digest)
            self.kept[name].discard(place)

    @rule()
    def wipe_memory(self) -> None:
        for name in self.values:
            self.memory.invalidate(sample_planned(name))
            self.kept[name].discard(0)

    @rule(name=NAMES)
    def invalidate(self, name: str) -> None:
        try:
            self.chain.invalidate(sample_planned(name))
        except StoreUnavailableError:
            if name in self.values:
                self.note(name)
            return
        digests = [sample_planned(name)]
        assert all(not tier.inner.lookup(digests) for tier in self.flaky)
        self.values.pop(name, None)
        self.kept.pop(name, None)

    @rule()
    def barrier(self) -> None:
        missed = self.chain.barrier()
        if any(tier.is_down for tier in self.flaky):
            return
        if not missed:
            assert all(stats.missing == stats.waiting == 0 for stats in self.chain.tiers)
        for name in self.values:
            self.note(name)

    def teardown(self) -> None:
        for tier in self.flaky:
            tier.is_down = False
        self.now += 100
        self.chain.lookup([bytes(32)])
        for name, kept in self.kept.items():
            if kept:
                assert self.chain.get(sample_planned(name)) == self.values[name]
        self.chain.close()
        shutil.rmtree(self.folder)


TestChain = ChainMachine.TestCase
TestChain.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
