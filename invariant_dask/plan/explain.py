"""Why a node runs: what its manifest has that the nearest stored one has not.

The nearest stored manifest is one of the same op and the same node id, the one with the fewest
differences. A node that has none was never seen: the records of others are no reason, and named
only where all but one thing agrees. Differences of a node's own come first; what merely follows
from a changed input is told apart. An input that was made anew since, in another run, is followed
to what changed there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from typing import NamedTuple, Protocol

from invariant_dask.core import manifest
from invariant_dask.core.manifest import Manifest
from invariant_dask.errors import ExpressionError, IntegrityError, NotCacheableError
from invariant_dask.ops.code_text import Change, CodeText, changes
from invariant_dask.ops.surroundings import FixedSurroundings
from invariant_dask.plan import words
from invariant_dask.plan.decide import inline_value
from invariant_dask.plan.differences import Difference, Now, differences, distance
from invariant_dask.plan.payload import (
    Payload,
    ValueUnknownError,
    describe,
    inputs_of,
    no_values,
)
from invariant_dask.plan.plan import Decision, Plan, Reason
from invariant_dask.plan.program import BoundOp, Step
from invariant_dask.plan.written import read


class PastNode(Protocol):
    """The explanatory part of a stored record."""

    @property
    def node(self) -> str: ...
    @property
    def run(self) -> str: ...
    @property
    def writer(self) -> str: ...
    @property
    def created(self) -> int: ...
    @property
    def code(self) -> str: ...
    @property
    def written(self) -> str: ...


class Past(Protocol):
    """A stored record, as far as explaining goes."""

    @property
    def resolved(self) -> bytes: ...
    @property
    def manifest(self) -> bytes: ...
    @property
    def descriptor(self) -> bytes: ...
    @property
    def about(self) -> PastNode: ...


@dataclass(frozen=True, slots=True)
class History:
    """What is known of earlier runs; whoever hands it in does the looking up."""

    recent: Callable[[str], Sequence[Past]]
    """Returns the latest stored records of an op, `window` at most, newest first."""
    why: Callable[[bytes], str]
    """Returns why the store did not take what it has under a digest, or nothing."""
    gone: Callable[[bytes], str] = lambda _digest: ""
    """Returns how what was stored under a digest went away, or nothing."""
    code_now: Callable[[BoundOp], CodeText | None] = lambda _op: None
    """Returns the code of an op, if it can be read here."""
    code_then: Callable[[str], CodeText | None] = lambda _fingerprint: None
    """Returns the code behind an earlier fingerprint, if it is stored."""
    window: int = 50
    """How many records of an op are looked at."""


class Cause(NamedTuple):
    """Why one step runs, as far as it is its own doing."""

    texts: tuple[str, ...] = ()
    nearest: Past | None = None
    """The record that it was compared with."""
    code: tuple[Change, ...] = ()
    """The parts of its code that changed."""
    is_new: bool = False
    """Whether there is nothing to compare it with."""


class _Kept(NamedTuple):
    """A stored record whose manifest is one."""

    past: Past
    about: PastNode
    manifest: Manifest


_DEPTH = 50
"""Through how many levels of stored inputs a change is followed."""

_ALWAYS = {Reason.FORCED, Reason.VOLATILE}


def explain(plan: Plan, history: History) -> dict[int, tuple[str, ...]]:
    """Return, for each step that runs, its causes in words: its own first, then what it follows."""
    explainer = Explainer(plan, history)
    explainer.look_at(plan.run)
    return {index: explainer.causes(index) for index in plan.run}


class Explainer:
    """Finds out why the steps of a plan run.

    Parameters
    ----------
    plan
        The plan.
    history
        What is known of earlier runs.
    """

    def __init__(self, plan: Plan, history: History) -> None:
        self.plan = plan
        self.steps = plan.program.steps
        self.history = history
        self.names = plan.program.nodes_of()
        self.own: dict[int, Cause] = {}
        self.roots: dict[int, frozenset[int]] = {}
        """The steps with causes of their own that a step has, or follows from."""
        self._past: dict[str, dict[str, list[_Kept]]] = {}
        self._changes: dict[tuple[int, str], tuple[Change, ...] | str] = {}

    def look_at(self, run: Iterable[int]) -> None:
        """Find the causes of some steps; those of all that run before them come first."""
        for index in run:
            own = self.own[index] = self._own(index)
            self.roots[index] = frozenset({index}) if own.texts else self.upstream(index)

    def upstream(self, index: int) -> frozenset[int]:
        """Return the steps that are the reason why inputs of a step run."""
        sources = self.steps[index].inputs
        found = {id(each): each for each in map(self.roots.get, sources) if each}
        if len(found) == 1:  # a chain shares one set
            return next(iter(found.values()))
        return frozenset().union(*found.values())

    def causes(self, index: int) -> tuple[str, ...]:
        """Return what a plan says of a step."""
        own, upstream = self.own[index], self.upstream(index)
        if not upstream or own.is_new:
            return own.texts
        node = self.steps[index].node
        return (*own.texts, words.follows(sorted(self.called(node, i) for i in upstream)))

    def called(self, node: str, index: int) -> str:
        """Return the name of a step that is nearest to a node: the one that it knows it by."""
        names = self.names[index]
        if len(names) == 1:
            return names[0]
        folders = node.split("/")

        def shared_with(name: str) -> int:
            pairs = zip(folders, name.split("/"), strict=False)
            return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))

        return max(names, key=shared_with)

    # --- one step ---

    def _own(self, index: int) -> Cause:
        step, reason = self.steps[index], self.plan.reasons[index]
        if reason in _ALWAYS:
            return Cause((reason.value,))
        if step.private:
            # Whatever is made from what nobody keeps is not kept either.
            contagious = any(self.steps[source].private for source in step.inputs)
            return Cause(() if contagious else (reason.value,))
        refused = self._refusal(index)
        if refused:
            return Cause((words.printable(refused),))
        if reason is Reason.LOST:
            return Cause((reason.value,))
        found = self._compared(index)
        if found.is_new or (not found.texts and reason is Reason.NOT_STORED):
            gone = self._asked(index, self.history.gone)
            if gone:
                return Cause((words.printable(gone),), found.nearest)
        if not found.texts and reason is Reason.NOT_STORED:
            return found._replace(texts=(reason.value,))
        return found

    def _refusal(self, index: int) -> str:
        """Return why a step runs although there is something stored for it."""
        return self._asked(index, self.history.why)

    def _asked(self, index: int, ask: Callable[[bytes], str]) -> str:
        """Ask about a step by planned digest, and by resolved digest if that is known."""
        step, found = self.steps[index], self.plan.found
        told = ask(step.planned)
        if not told and not step.derives and all(source in found for source in step.inputs):
            told = ask(step.resolve([found[each].record.descriptor for each in step.inputs]))
        return told

    def _compared(self, index: int) -> Cause:
        """Return what tells a step from the nearest stored record."""
        step = self.steps[index]
        past = self._records(step.bound.op.name)
        if not past:
            return Cause((words.NEVER_SEEN,), is_new=True)
        now = self._now(index)
        same_node = [each for node in self.names[index] for each in past.get(node, ())]
        if same_node:
            kept = min(same_node, key=partial(_distance, now))
            return self._told(index, now, self._differences(now, kept), kept)
        everybody = [each for records in past.values() for each in records]
        if len(everybody) >= self.history.window and self.upstream(index):
            return Cause()  # what it follows from says more than another node's record
        kept = min(everybody, key=partial(_distance, now))
        everything_known = None not in now.descriptors.values()
        if everything_known and not distance(now, kept.manifest):
            return Cause((), kept.past)  # the record is there, its artifact is not
        known = sum(each is not None for each in now.descriptors.values())
        found = self._differences(now, kept) if known > 1 and _distance(now, kept) < 2 else []
        if len(found) != 1:
            # Beyond the window it may have been seen.
            is_all = len(everybody) < self.history.window
            return Cause((words.NEVER_SEEN if is_all else Reason.NOT_STORED.value,), is_new=True)
        told = self._told(index, now, found, kept)
        if len(everybody) >= self.history.window:
            return told
        text = words.never_seen_but(words.printable(kept.about.node), told.texts[0])
        return told._replace(texts=(text,), is_new=True)

    def _differences(self, now: Now, kept: _Kept) -> list[Difference]:
        return differences(now, kept.manifest, read(kept.about.written))

    def _records(self, op: str) -> dict[str, list[_Kept]]:
        """Return the latest records of an op by node, the newest of each first."""
        if op not in self._past:
            by_node: dict[str, list[_Kept]] = {}
            for record in self.history.recent(op):
                with suppress(IntegrityError):  # of somebody who writes what he likes
                    kept = _Kept(record, record.about, manifest.parse(record.manifest))
                    by_node.setdefault(kept.about.node, []).append(kept)
            self._past[op] = by_node
        return self._past[op]

    # --- in words ---

    def _told(self, index: int, now: Now, found: Sequence[Difference], kept: _Kept) -> Cause:
        texts: list[str] = []
        code: tuple[Change, ...] = ()
        for difference in found:
            if difference.code:
                text, code = self._of_code(index, difference.code)
                texts.append(text)
            else:
                behind = self._behind_of(index, now, difference, kept.manifest)
                texts += map(words.printable, behind or [str(difference)])
        if kept.about.code and any(each.what == "version" for each in found):
            _, code = self._of_code(index, kept.about.code)
        return Cause(tuple(dict.fromkeys(texts)), kept.past, code)

    def _of_code(self, index: int, fingerprint: str) -> tuple[str, tuple[Change, ...]]:
        """Return what changed in the code of an op, in words and in parts."""
        bound = self.steps[index].bound
        key = id(bound), fingerprint
        if key not in self._changes:
            self._changes[key] = self._compare_code(bound, fingerprint)
        changed = self._changes[key]
        if isinstance(changed, str):
            return changed, ()
        return words.printable(words.code_changed([str(each) for each in changed])), changed

    def _compare_code(self, bound: BoundOp, fingerprint: str) -> tuple[Change, ...] | str:
        then = self.history.code_then(fingerprint)
        if then is None:
            return words.code_not_kept(bound.op.name)
        now = self.history.code_now(bound)
        if now is None:
            return words.code_not_readable(bound.op.name)
        return tuple(changes(then, now)) or words.code_rewired(bound.op.name)

    def _behind_of(self, index: int, now: Now, difference: Difference, kept: Manifest) -> list[str]:
        name = difference.parameter
        was, given = kept.params.get(name), now.descriptors.get(name)
        return self._behind(index, name, was, given, set()) if was and given else []

    def _behind(
        self, index: int, parameter: str, was: bytes, now: bytes, seen: set[int]
    ) -> list[str]:
        """Return why an input that is stored is another one than it was, if records tell.

        Parameters
        ----------
        index, parameter
            The step and its parameter that is the input.
        was, now
            The descriptors of the input.
        seen
            Steps that were followed already.
        """
        step = self.steps[index]
        payload = next((each for name, _, each in step.parts if name == parameter), None)
        if type(payload) is not int or len(seen) > _DEPTH:
            return []
        source = step.inputs[payload]
        if source in seen:
            return []
        seen.add(source)
        names, step = self.names[source], self.steps[source]
        records = self._records(step.bound.op.name)
        past = [each for name in names for each in records.get(name, ())]
        old = next((each for each in past if each.past.descriptor == was), None)
        new = next((each for each in past if each.past.descriptor == now), None)
        if old is None or new is None or step.bound.identity != new.manifest.op:
            return []
        texts: list[str] = []
        known = self._now_of(step, new.manifest.params)
        for each in differences(known, old.manifest, read(old.about.written)):
            before, after = (m.params.get(each.parameter) for m in (old.manifest, new.manifest))
            behind = before and after and self._behind(source, each.parameter, before, after, seen)
            told = self._of_code(source, each.code)[0] if each.code else str(each)
            texts += behind or [words.of_node(step.node, told)]
        return texts

    # --- what is known of a step ---

    def _now(self, index: int) -> Now:
        """Return a step as far as it is known."""
        step, found = self.steps[index], self.plan.found
        records = [found[source].record if source in found else None for source in step.inputs]
        inputs = [None if record is None else record.descriptor for record in records]

        def value_of(number: int) -> object:
            record = records[number]
            if record is None:
                raise ValueUnknownError
            return inline_value(record)

        known = {name: _descriptor(payload, inputs, value_of) for name, _, payload in step.parts}
        return self._now_of(step, known)

    def _now_of(self, step: Step, known: Mapping[str, bytes | None]) -> Now:
        payloads = {name: payload for name, _, payload in step.parts}
        inputs = {}
        for name, payload in payloads.items():
            numbers = sorted(set(inputs_of(payload)))
            if numbers:
                nodes = [self.called(step.node, step.inputs[number]) for number in numbers]
                inputs[name] = words.join(nodes)
        return Now(step.bound.identity, known, payloads, inputs, read(step.written))

    def running(self, index: int) -> list[int]:
        """Return the steps that a step needs and that run, itself included, in order."""
        needed, stack = {index}, [index]
        while stack:
            for source in self.steps[stack.pop()].inputs:
                if source not in needed and self.plan.decisions[source] is Decision.RUN:
                    needed.add(source)
                    stack.append(source)
        return sorted(needed)


def _distance(now: Now, kept: _Kept) -> int:
    return distance(now, kept.manifest)


def _descriptor(
    payload: Payload, inputs: list[bytes | None], value_of: Callable[[int], object]
) -> bytes | None:
    if type(payload) is int:
        return inputs[payload]
    try:
        if None in inputs:
            # Good for what takes no inputs.
            return describe(payload, (), no_values)
        known = [each for each in inputs if each is not None]
        with FixedSurroundings():
            return describe(payload, known, value_of)
    except (ValueUnknownError, IndexError, ExpressionError, NotCacheableError):
        return None
