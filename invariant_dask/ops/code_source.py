"""The source of code that is loaded: finds the syntax tree of a live code object, or says why not.

A file may have changed since it was imported. So its text is read anew, compiled, and the code
objects compared with the live one, positions aside; a tree is returned only if they are the same.
"""

from __future__ import annotations
import __future__

import ast
import copy
import linecache
import os
import weakref
from collections.abc import Iterator
from types import CodeType
from typing import Any, TypeAlias

from invariant_dask.errors import StaleCodeError

FunctionNode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda

_FUTURE_FLAGS = 0
for _feature in __future__.all_feature_names:
    _FUTURE_FLAGS |= getattr(__future__, _feature).compiler_flag
_FUTURE_FLAGS &= ~__future__.nested_scopes.compiler_flag  # marks any nested function

_COMPARED = (
    "co_code", "co_names", "co_varnames", "co_freevars", "co_cellvars", "co_argcount",
    "co_posonlyargcount", "co_kwonlyargcount", "co_flags", "co_exceptiontable",
)  # fmt: skip


class NoSourceError(Exception):
    """There is no source text for some code; the caller knows the path to it and says so."""


class SourceFile:
    """One parsed and compiled text.

    Attributes
    ----------
    text : bytes
        What was parsed.
    classes : dict
        Class definitions by qualified name, in the order of the text.
    notes : dict
        Room for what others derive from a node, by the node's id; it lives as long as the tree.
    """

    def __init__(self, path: str, text: bytes, flags: int) -> None:
        self.path = path
        self.text = text
        tree = compile(text, path, "exec", flags | ast.PyCF_ONLY_AST, dont_inherit=True)
        assert isinstance(tree, ast.Module)
        self.tree = tree
        self.module = compile(tree, path, "exec", flags, dont_inherit=True)
        self._flags = flags
        self._lambdas: list[tuple[ast.Lambda, CodeType]] | None = None
        self.notes: dict[int, Any] = {}
        self.classes: dict[str, list[ast.ClassDef]] = {}
        self._nodes: dict[tuple[str, int], list[FunctionNode]] = {}
        self._codes: dict[str, list[CodeType]] = {}
        for code in _nested(self.module):
            self._codes.setdefault(code.co_qualname, []).append(code)
        self._index(tree, "")

    def _index(self, node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            inside = prefix
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
                first = child.decorator_list[0] if child.decorator_list else child
                self._nodes.setdefault((child.name, first.lineno), []).append(child)
                inside = f"{prefix}{child.name}.<locals>."
            elif isinstance(child, ast.Lambda):
                self._nodes.setdefault(("<lambda>", child.lineno), []).append(child)
                inside = f"{prefix}<lambda>.<locals>."
            elif isinstance(child, ast.ClassDef):
                self.classes.setdefault(prefix + child.name, []).append(child)
                inside = f"{prefix}{child.name}."
            self._index(child, inside)

    def find(self, code: CodeType, *, by_line: bool = False) -> FunctionNode | None:
        """Return the definition of a live code object, or None if it is not in this text.

        Parameters
        ----------
        code
            From a function.
        by_line
            If nothing is the same, take what has its name on its line.
        """
        named = self._codes.get(code.co_qualname, ())
        same = [candidate for candidate in named if same_code(candidate, code)]
        if not same and by_line:
            same = [c for c in named if c.co_firstlineno == code.co_firstlineno]
        if len(same) > 1:
            # Equal code twice: the one in the same place, if it has not moved.
            at = code.co_firstlineno
            here = [c for c in same if c.co_firstlineno == at]
            where = list(code.co_positions())
            same = [c for c in here if list(c.co_positions()) == where] or here or same
        return self._node_of(same[0]) if same else None

    def _node_of(self, code: CodeType) -> FunctionNode | None:
        found = self._nodes.get((code.co_name, code.co_firstlineno), [])
        if len(found) < 2:
            return found[0] if found else None
        if self._lambdas is None:
            self._lambdas = self._tell_lambdas_apart()
        same = [
            (node, twin)
            for node, twin in self._lambdas
            if node.lineno == code.co_firstlineno and same_code(twin, code)
        ]
        columns = [position[2:] for position in code.co_positions()]
        same.sort(key=lambda pair: [p[2:] for p in pair[1].co_positions()] != columns)
        return same[0][0] if same else None

    def _tell_lambdas_apart(self) -> list[tuple[ast.Lambda, CodeType]]:
        """Return each lambda with code of its own, for those that share a line."""
        # Positions need not tell them apart (-X no_debug_ranges), so a copy of the tree is
        # compiled in which each has a line to itself.
        numbered = copy.deepcopy(self.tree)
        by_line: dict[int, ast.Lambda] = {}
        start = self.text.count(b"\n") + 2
        for original, twin in zip(ast.walk(self.tree), ast.walk(numbered), strict=True):
            if isinstance(original, ast.Lambda) and isinstance(twin, ast.Lambda):
                twin.lineno = twin.end_lineno = start + len(by_line)
                twin.col_offset, twin.end_col_offset = 0, 1
                by_line[twin.lineno] = original
        module = compile(numbered, self.path, "exec", self._flags, dont_inherit=True)
        return [
            (by_line[code.co_firstlineno], code)
            for code in _nested(module)
            if code.co_name == "<lambda>"
        ]


def _nested(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _nested(constant)


def same_code(one: CodeType, other: CodeType) -> bool:
    """Return whether two code objects do the same, wherever they were written."""
    return all(getattr(one, name) == getattr(other, name) for name in _COMPARED) and same_constant(
        one.co_consts, other.co_consts
    )


def same_constant(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, CodeType):
        return same_code(one, other)
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(same_constant, one, other))
    if isinstance(one, frozenset):
        return sorted(map(repr, one)) == sorted(map(repr, other))
    return repr(one) == repr(other)  # tells -0.0 from 0.0, and nan is nan


_parsed: dict[tuple[str, int], SourceFile] = {}
_located: dict[int, tuple[weakref.ref[CodeType], SourceFile, FunctionNode]] = {}


class Sources:
    """The texts of one moment: each file is read at most once by one of these."""

    def __init__(self) -> None:
        self._files: dict[tuple[str, int], SourceFile] = {}

    def locate(
        self, code: CodeType, namespace: dict[str, Any], shown: str
    ) -> tuple[SourceFile, FunctionNode]:
        """Return the file and the definition of a live code object.

        Raises
        ------
        NoSourceError
            If there is no text.
        StaleCodeError
            If the text is of other code than the live one.
        """
        file = self.file(code.co_filename, namespace, code.co_flags & _FUTURE_FLAGS)
        known = _located.get(id(code))
        if known is not None and known[0]() is code and known[1] is file:
            return file, known[2]
        node = file.find(code, by_line=_is_rewritten_by_pytest(namespace))
        if node is None:
            msg = (
                f"the source of {shown} changed since it was imported ({file.path}), so what is "
                "loaded is not what is written; reload the module or restart the process"
            )
            raise StaleCodeError(msg)
        number = id(code)
        forget = weakref.ref(code, lambda _: _located.pop(number, None))
        _located[number] = (forget, file, node)
        return file, node

    def file(self, filename: str, namespace: dict[str, Any], flags: int = 0) -> SourceFile:
        """Return a parsed text: of a file, a notebook cell or whatever else `linecache` knows."""
        found = self._files.get((filename, flags))
        if found is not None:
            return found
        path, text, is_cell = _read(filename, namespace)
        compile_flags = flags | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT if is_cell else flags
        file = _parsed.get((path, compile_flags))
        if file is None or file.text != text:
            try:
                file = SourceFile(path, text, compile_flags)
            except (SyntaxError, ValueError) as error:
                msg = f"{path} can no longer be compiled, so it changed since it was loaded: "
                raise StaleCodeError(f"{msg}{error}; reload or restart") from error
            _parsed[path, compile_flags] = file
        self._files[filename, flags] = file
        return file


def _read(filename: str, namespace: dict[str, Any]) -> tuple[str, bytes, bool]:
    """Return path and text, and whether it is a notebook's cell or the like and not a file."""
    candidates = [filename]
    module_file = namespace.get("__file__")
    # A script's code may have a path relative to a folder that was left since.
    if isinstance(module_file, str) and _base(module_file) == _base(filename):
        candidates.append(module_file)
    for path in candidates:
        try:
            with open(path, "rb") as stream:  # noqa: PTH123  Path would cost as much as the read
                return path, stream.read(), False
        except (OSError, ValueError):
            continue
    lines = linecache.getlines(filename, namespace)
    if not lines:
        raise NoSourceError
    return filename, "".join(lines).encode("utf-8", "surrogatepass"), True


def _base(path: str) -> str:
    return os.path.basename(path)  # noqa: PTH119


def _is_rewritten_by_pytest(namespace: dict[str, Any]) -> bool:
    spec = namespace.get("__spec__")
    loader = getattr(spec, "loader", None) or namespace.get("__loader__")
    return type(loader).__name__ == "AssertionRewritingHook"
