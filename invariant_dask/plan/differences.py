"""What a step's manifest has that a stored one has not, in words.

Where values are secrets, only that they differ is told. Values that a manifest has as hashes only
are not told either: which of them were secrets is not known any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from invariant_dask.core import cbor, manifest
from invariant_dask.core.decode import Hashed
from invariant_dask.core.encode import Encoded
from invariant_dask.core.files import FileContent
from invariant_dask.core.manifest import Manifest
from invariant_dask.plan import words
from invariant_dask.plan.payload import Payload, has_secret, no_values, value_of_payload
from invariant_dask.plan.written import Written

_FILE_HEAD = cbor.head(6, cbor.TAG_FILE)
_LONGEST = 60
_ANOTHER = "another value"


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that differs: what it is, what it was and what it is now, in words."""

    what: str
    old: str
    new: str
    parameter: str = ""
    """The parameter that it is of, if it is of one."""
    code: str = ""
    """The fingerprint that the code had, if it is the code that differs."""

    def __str__(self) -> str:
        if not self.old:
            return f"{self.what}: {self.new}"
        return words.changed(self.what, self.old, self.new)


@dataclass(frozen=True, slots=True)
class Now:
    """A step as far as it is known before it runs."""

    op: bytes
    descriptors: Mapping[str, bytes | None]
    """Of each parameter; None where it is not known yet."""
    payloads: Mapping[str, Payload]
    inputs: Mapping[str, str]
    """The nodes whose artifacts a parameter takes, in words, by parameter."""
    written: Mapping[str, Written]


def differences(now: Now, kept: Manifest, then: Mapping[str, Written]) -> list[Difference]:
    """Return what differs between a step and a stored manifest, the code first.

    Parameters
    ----------
    now
        The step.
    kept
        The stored manifest.
    then
        How its parameters were written.
    """
    found = _of_op(now.op, kept) if now.op != kept.op else []
    for name, descriptor in now.descriptors.items():
        old = kept.params.get(name)
        if old is None:
            new = "an input" if descriptor is None else _shown(descriptor, now.payloads[name])
            found.append(Difference(f"parameter {name}", "absent", new, name))
        elif descriptor != old:
            found += _of_parameter(now, name, descriptor, old, then.get(name, Written()))
    found.extend(
        Difference(f"parameter {name}", _text(kept.params[name]), "absent", name)
        for name in kept.params
        if name not in now.descriptors
    )
    return found


def distance(now: Now, kept: Manifest) -> int:
    """Return in how many things a step differs from a stored manifest, as far as is known."""
    params = kept.params
    differing = int(now.op != kept.op)
    for name, descriptor in now.descriptors.items():
        old = params.get(name)
        if old is None or (descriptor is not None and descriptor != old):
            differing += 1
    return differing + sum(name not in now.descriptors for name in params)


def _of_op(op: bytes, kept: Manifest) -> list[Difference]:
    new, old = manifest.render_value(op), kept.op_value
    if not (isinstance(new, list) and len(new) == len(old) == 4):
        return [Difference("op", repr(old), repr(new))]
    found = []
    if new[1:3] != old[1:3]:
        found.append(_of_identity(str(old[1]), str(old[2]), str(new[1]), str(new[2])))
    for name in sorted({*old[3], *new[3]}):
        if old[3].get(name) != new[3].get(name):
            before, after = old[3].get(name, "absent"), new[3].get(name, "absent")
            found.append(Difference(f"distribution {name}", before, after))
    return found


def _of_identity(old_kind: str, old: str, new_kind: str, new: str) -> Difference:
    if old_kind != new_kind:
        what = {"code": "its code", "version": "version", "installed": "distribution"}
        texts = (
            what.get(kind, kind) if kind == "code" else f"{what.get(kind, kind)} {value[:80]}"
            for kind, value in ((old_kind, old), (new_kind, new))
        )
        return Difference("identity", *texts)
    if new_kind == "code":
        return Difference("code", old[:24], new[:24], code=old)
    if new_kind == "version":
        return Difference("version", old[:80], new[:80])
    (name, at, where), (name_now, at_now, where_now) = _distribution(old), _distribution(new)
    if (name, where) == (name_now, where_now):
        return Difference(f"distribution {name}", at, at_now)
    return Difference("distribution", old[:80], new[:80])


def _distribution(value: str) -> tuple[str, str, str]:
    """Return name, version and place of what is identified by `name==version:module:qualname`."""
    name, _, rest = value.partition("==")
    at, _, where = rest.partition(":")
    return name, at, where


def _of_parameter(
    now: Now, name: str, new: bytes | None, old: bytes, then: Written
) -> list[Difference]:
    """Return how a parameter differs; nothing if it is not known, and written as it was."""
    payload, written = now.payloads[name], now.written.get(name, Written())
    if then.expressions and written.expressions and then.expressions != written.expressions:
        what = f"expression of {name}"
        before, after = (_cut("; ".join(each.expressions)) for each in (then, written))
        return [Difference(what, before, after, name)]
    if new is None:
        return []
    file = _file_in(payload) if new.startswith(_FILE_HEAD) else None
    if file is not None:
        what = f"content of file {_name_of(file)} (parameter {name})"
    elif written.is_context:
        what = f"context {written.context[0]}"
    elif written.context:
        what = f"parameter {name}, from context {words.join(written.context)}"
    elif name in now.inputs:
        what = f"parameter {name}, from {now.inputs[name]}"
    else:
        what = f"parameter {name}"
    if has_secret(payload):
        return [Difference(what, "", "another value; it is a secret", name)]
    return [_by_items(what, name, old, new)]


def _by_items(what: str, name: str, old: bytes, new: bytes) -> Difference:
    """Return a difference of the one item of a container that differs, or of the whole."""
    before, after = manifest.render_value(old), manifest.render_value(new)
    while type(before) is type(after):
        if isinstance(after, dict) and before.keys() == after.keys():
            differing = [key for key in after if _differ(before[key], after[key])]
        elif isinstance(after, list | tuple) and len(before) == len(after):
            differing = [i for i, item in enumerate(after) if _differ(before[i], item)]
        else:
            break
        if len(differing) != 1 or len(after) == 1:
            break
        (key,) = differing
        what, before, after = f"{what}[{key!r}]", before[key], after[key]
    old_text, new_text = _pair(before, after)
    return Difference(what, old_text, new_text, name)


def _differ(one: Any, other: Any) -> bool:
    return type(one) is not type(other) or repr(one) != repr(other)


def _pair(old: Any, new: Any) -> tuple[str, str]:
    if isinstance(old, Hashed) and isinstance(new, Hashed):
        return "", _ANOTHER
    return _cut(_without_hashes(old)), _cut(_without_hashes(new))


def _without_hashes(value: Any) -> str:
    return "a value kept as a hash" if isinstance(value, Hashed) else repr(value)


def _shown(descriptor: bytes, payload: Payload) -> str:
    return "a secret" if has_secret(payload) else _text(descriptor)


def _text(descriptor: bytes) -> str:
    return _cut(_without_hashes(manifest.render_value(descriptor)))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def _file_in(payload: Payload) -> FileContent | None:
    """Return the input file that a parameter is, if it is one."""
    if not isinstance(payload, bytes | Encoded):
        return None
    value = value_of_payload(payload, no_values, lambda content: content)
    return value if isinstance(value, FileContent) else None


def _name_of(file: FileContent) -> str:
    """Return the name of a file, without where it is: a URL may have secrets in it."""
    location = file.location.partition("?")[0].rstrip("/")
    return location.rpartition("/")[2] or location
