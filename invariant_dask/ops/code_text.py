"""The code of an op as text for people: its parts with their source, so that changes have names.

A fingerprint says that code changed. This says which function, class or constant in which file,
and how it read. The texts are never run, and no identity is made of them. What comes from a store
was written by anybody: it is checked for its form, and bounded.
"""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any, NamedTuple

from invariant_dask.errors import StaleCodeError
from invariant_dask.ops.code_classes import class_source
from invariant_dask.ops.code_homes import root_of
from invariant_dask.ops.code_parts import Part
from invariant_dask.ops.code_source import NoSourceError, SourceFile, Sources
from invariant_dask.ops.fingerprint import digest_of, named_parts, walk_of

SOURCE_LIMIT = 16 << 10
"""Longest source of one part, in characters; the rest is cut off."""

TOTAL_LIMIT = 200 << 10
"""Longest source of all parts together, in characters; further parts have none."""

PARTS_LIMIT = 500

_NAME_LIMIT = 300
_CUT = "\n... cut off here\n"
_FORM = {"file", "name", "digest", "source"}


class CodePart(NamedTuple):
    """One function, class, constant, closure cell or default that an op's code is made of."""

    name: str
    """What it is and what it is called, such as `function tools.scale`."""
    file: str
    """Where it is written, from the folder its top package is imported from; may be empty."""
    digest: str
    """Tells whether it changed; what it refers to does not count."""
    source: str
    """How it reads; empty where that is not known."""

    @property
    def kind(self) -> str:
        """`function`, `class`, `constant`, `closure`, `default` or `callable`."""
        return self.name.partition(" ")[0]

    @property
    def short(self) -> str:
        """The name without the module, which the file says."""
        name = self.name.partition(" ")[2]
        module = self.file.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        for prefix in (f"{module}.", "__main__."):
            if self.file and name.startswith(prefix):
                return name.removeprefix(prefix)
        return name


@dataclass(frozen=True, slots=True)
class CodeText:
    """What the code behind one fingerprint says."""

    fingerprint: str
    parts: tuple[CodePart, ...]
    """The op's own function first."""

    def to_value(self) -> dict[str, Any]:
        """Return it as plain values, for a store."""
        return {"fingerprint": self.fingerprint, "parts": [part._asdict() for part in self.parts]}

    @classmethod
    def from_value(cls, value: object, fingerprint: str) -> CodeText | None:
        """Return what `to_value` gave, or None if it is anything else, or of other code."""
        if not isinstance(value, Mapping) or value.get("fingerprint") != fingerprint:
            return None
        listed = value.get("parts")
        if not isinstance(listed, Sequence) or not 0 < len(listed) <= PARTS_LIMIT:
            return None
        parts: list[CodePart] = []
        for part in listed:
            if not isinstance(part, Mapping) or set(part) != _FORM:
                return None
            if not all(isinstance(text, str) for text in part.values()):
                return None
            limits = max(map(len, (part["name"], part["file"], part["digest"])))
            if limits > _NAME_LIMIT or len(part["source"]) > SOURCE_LIMIT + len(_CUT):
                return None
            parts.append(CodePart(**part))
        return cls(fingerprint, tuple(parts))


def code_text(function: Callable[..., Any], *, name: str) -> CodeText:
    """Return what the code of an op says, as it is now.

    Parameters
    ----------
    function
        What runs.
    name
        What errors call it.

    Raises
    ------
    CodeIdentityError, StaleCodeError
        As `fingerprint.fingerprint`.
    """
    walk = walk_of(function, name)
    left = TOTAL_LIMIT
    parts: list[CodePart] = []
    files: dict[str, SourceFile] = {}
    for label, digest, part in named_parts(walk):
        if len(parts) == PARTS_LIMIT:
            break
        file, source = _source(walk.sources, part, files) if part else _assignment(label, files)
        if len(source) > SOURCE_LIMIT:
            source = source[:SOURCE_LIMIT] + _CUT
        if len(source) > left:
            source = ""
        left -= len(source)
        parts.append(CodePart(label[:_NAME_LIMIT], file[-_NAME_LIMIT:], digest, source))
    return CodeText(digest_of(walk), tuple(parts))


def _source(sources: Sources, part: Part, files: dict[str, SourceFile]) -> tuple[str, str]:
    subject = part.subject
    try:
        if isinstance(subject, FunctionType):
            namespace = subject.__globals__
            file, at = sources.locate(subject.__code__, namespace, part.label)
            node: ast.stmt | ast.expr = at
        elif isinstance(subject, type):
            found = class_source(sources, subject)
            if found is None:
                return "", ""
            (file, node), namespace = found, _namespace_of(subject)
        else:
            return "", ""
    except (NoSourceError, StaleCodeError):
        return "", ""
    module = namespace.get("__name__")
    if isinstance(module, str):
        files[module] = file
    return _relative(file.path, root_of(namespace)), _segment(file, node)


def _namespace_of(cls: type) -> dict[str, Any]:
    module = sys.modules.get(cls.__module__)
    return {} if module is None else vars(module)


def _assignment(label: str, files: Mapping[str, SourceFile]) -> tuple[str, str]:
    """Return where a constant is assigned in a module that was met, as it is written there.

    Its value is not shown: it may come from anywhere, such as from the environment.
    """
    kind, _, dotted = label.partition(" ")
    module, _, name = dotted.rpartition(".")
    file = files.get(module)
    if kind != "constant" or file is None:
        return "", ""
    for node in reversed(file.tree.body):
        targets: Sequence[ast.expr] = ()
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AnnAssign | ast.AugAssign):
            targets = (node.target,)
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            path = module.replace(".", "/") + ".py"
            here = path if file.path.replace(os.sep, "/").endswith(path) else _base(file.path)
            return here, _segment(file, node)
    return "", ""


def _segment(file: SourceFile, node: ast.stmt | ast.expr) -> str:
    """Return the lines of a definition, with its decorators."""
    first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])
    lines = file.text.decode("utf-8", "replace").splitlines(keepends=True)
    return "".join(lines[first - 1 : node.end_lineno])


def _relative(path: str, root: str | None) -> str:
    """Return a path without what says whose machine it is on."""
    path = os.fsencode(path).decode("utf-8", "backslashreplace")
    full = os.path.abspath(path)  # noqa: PTH100
    if root is not None and full.startswith(root.rstrip(os.sep) + os.sep):
        return os.path.relpath(full, root).replace(os.sep, "/")
    return _base(path)


def _base(path: str) -> str:
    return os.path.basename(path)  # noqa: PTH119


# --- what changed ------------------------------------------------------------------------------


class Change(NamedTuple):
    """A part that is not as it was; one of the two is None if it is new or gone."""

    old: CodePart | None
    new: CodePart | None
    is_op: bool = False
    """Whether it is the function of the op itself."""

    @property
    def reads_the_same(self) -> bool:
        """Whether it is code whose text is known and did not change."""
        old, new = self.old, self.new
        if old is None or new is None or new.kind not in {"function", "class"}:
            return False
        return bool(old.source) and old.source == new.source

    def __str__(self) -> str:
        part = self.new or self.old
        assert part is not None
        kind = part.kind
        if kind == "function":
            kind = "function" if self.is_op else "helper"
        where = f" in {part.file}" if part.file else ""
        how = "" if self.old and self.new else " is new" if self.new else " is gone"
        return f"{kind} {part.short}{where}{how}"


def changes(old: CodeText, new: CodeText) -> list[Change]:
    """Return what differs between two codes: what changed, what is new, what is gone."""
    before = {part.name: part for part in old.parts}
    now = {part.name: part for part in new.parts}
    first = new.parts[0].name if new.parts else ""
    changed = [
        Change(before[name], part, name == first)
        for name, part in now.items()
        if name in before and before[name].digest != part.digest
    ]
    changed += [Change(None, now[name], name == first) for name in now if name not in before]
    changed += [Change(part, None) for name, part in before.items() if name not in now]
    # A function has the values that it reads in it: with the same text, these are what changed.
    telling = [each for each in changed if not each.reads_the_same]
    return telling or changed


def source_diff(changed: Iterable[Change]) -> str:
    """Return the changes of which both texts are known as a unified diff."""
    import difflib  # only needed here, and not quick to import

    lines: list[str] = []
    for old, new, _ in changed:
        before, after = old.source if old else "", new.source if new else ""
        if (old and not before) or (new and not after) or before == after:
            continue
        where = new or old
        assert where is not None
        told = f"{where.file or '?'} ({where.short})"
        lines += difflib.unified_diff(
            before.splitlines(), after.splitlines(), f"{told}, before", f"{told}, now", lineterm=""
        )
    return "\n".join(lines)
