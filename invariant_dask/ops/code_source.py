"""The syntax of a function as it is loaded, whatever is on disk by now.

A function's source is found by compiling its file and looking for the very code object that is
loaded, positions aside. If there is none, the file was edited after it was imported, and an
identity taken from it would be a lie.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import linecache
import sys
import tokenize
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from invariant_dask.errors import StaleCodeError

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda

# What follows says nothing about what a function does, or varies with Python's minor version.
_SKIPPED = frozenset({"type_comment", "type_ignores", "type_params", "returns", "kind", "ctx"})


class NoSourceError(LookupError):
    """There is no source to be had for a function."""


@dataclass(slots=True)
class _Source:
    candidates: dict[str, list[tuple[CodeType, FunctionNode]]] = field(default_factory=dict)


_sources: dict[tuple[str, str], _Source] = {}
_syntax: dict[CodeType, FunctionNode] = {}


def syntax_of(function: FunctionType) -> FunctionNode:
    """Return the syntax tree of a loaded function.

    Raises
    ------
    NoSourceError
        If its source is not available.
    StaleCodeError
        If its source changed since it was loaded.
    """
    code = function.__code__
    source = _source(function)
    named = source.candidates.get(code.co_name, [])
    if _is_rewritten(function):
        for candidate, node in named:
            if candidate.co_firstlineno == code.co_firstlineno:
                return node
    same_line = sorted(named, key=lambda pair: pair[0].co_firstlineno != code.co_firstlineno)
    for candidate, node in same_line:
        if same_code(candidate, code):
            return node
    msg = (
        f"the source of {function.__module__}.{function.__qualname__} changed since it was "
        "imported; reload the module, or restart Python"
    )
    raise StaleCodeError(msg)


def same_code(a: CodeType, b: CodeType) -> bool:
    """Return whether two code objects do the same, wherever they stand."""
    return (
        a.co_code == b.co_code
        and a.co_names == b.co_names
        and a.co_varnames == b.co_varnames
        and a.co_freevars == b.co_freevars
        and a.co_cellvars == b.co_cellvars
        and a.co_flags == b.co_flags
        and a.co_argcount == b.co_argcount
        and a.co_kwonlyargcount == b.co_kwonlyargcount
        and len(a.co_consts) == len(b.co_consts)
        and all(map(_same_constant, a.co_consts, b.co_consts))
    )


def _same_constant(a: object, b: object) -> bool:
    if isinstance(a, CodeType) and isinstance(b, CodeType):
        return same_code(a, b)
    return type(a) is type(b) and repr(a) == repr(b)


def _is_rewritten(function: FunctionType) -> bool:
    """Whether pytest changed the code of the module, as it does with assertions in tests."""
    module = sys.modules.get(function.__module__)
    loader = getattr(getattr(module, "__spec__", None), "loader", None)
    return type(loader).__name__ == "AssertionRewritingHook"


def _source(function: FunctionType) -> _Source:
    filename = function.__code__.co_filename
    text = _read(filename, function)
    key = (filename, hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest())
    found = _sources.get(key)
    if found is None:
        found = _sources[key] = _index(text, filename)
    return found


def _read(filename: str, function: FunctionType) -> str:
    path = Path(filename)
    if path.is_file():
        # Read afresh: linecache may still hold what was there before.
        with tokenize.open(filename) as file:
            return file.read()
    text = "".join(linecache.getlines(filename, function.__globals__))
    if not text:
        raise NoSourceError(filename)
    return text


def _index(text: str, filename: str) -> _Source:
    try:
        tree = ast.parse(text, filename)
        code = compile(text, filename, "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        # A file that does not even compile is not what was loaded.
        return _Source()
    source = _Source()
    nodes: dict[tuple[str, int], list[FunctionNode]] = {}
    for node in ast.walk(tree):
        if isinstance(node, FunctionNode):
            name = "<lambda>" if isinstance(node, ast.Lambda) else node.name
            first = node.lineno
            for decorator in getattr(node, "decorator_list", ()):
                first = min(first, decorator.lineno)
            nodes.setdefault((name, first), []).append(node)
    stack = [code]
    while stack:
        current = stack.pop()
        for constant in reversed(current.co_consts):
            if isinstance(constant, CodeType):
                stack.append(constant)
        matching = nodes.get((current.co_name, current.co_firstlineno), [])
        if matching:
            # Several lambdas on one line come in the order of their code objects.
            node = matching.pop(0) if len(matching) > 1 else matching[0]
            source.candidates.setdefault(current.co_name, []).append((current, node))
    return source


def serialise(node: Any) -> str:
    """Return a text for a syntax tree that only changes when its meaning may.

    Positions, comments, formatting, docstrings and annotations are left out, and so is what only
    some versions of Python put into a tree: a field that is empty is not written.
    """
    if isinstance(node, ast.AST):
        return _serialise_node(node)
    if isinstance(node, list):
        return "[" + ",".join(map(serialise, node)) + "]"
    return f"{type(node).__name__}:{node!r}"


def _serialise_node(node: ast.AST) -> str:
    if isinstance(node, ast.AnnAssign):
        # `x: int = 1` in a function is `x = 1`; without a value it does nothing.
        if node.value is None:
            return "Pass()"
        return f"Assign(targets=[{serialise(node.target)}],value={serialise(node.value)})"
    parts = []
    for name in node._fields:
        value = getattr(node, name, None)
        if name in _SKIPPED or value is None or value == []:
            continue
        if name == "annotation":
            continue
        if name == "body" and isinstance(value, list):
            value = without_docstring(node, value)
        parts.append(f"{name}={serialise(value)}")
    return f"{type(node).__name__}({','.join(parts)})"


def without_docstring(node: ast.AST, body: list[ast.stmt]) -> list[ast.stmt]:
    """Return the statements of a body but for its docstring."""
    documented = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    if documented and body and isinstance(body[0], ast.Expr):
        value = body[0].value
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            return body[1:]
    return body


@functools.lru_cache(maxsize=4096)
def body_text(node: FunctionNode) -> str:
    """Return the text of a function without its name, decorators and defaults.

    Those are values, and enter as values.
    """
    arguments = node.args
    names = ",".join(
        argument.arg
        for group in (arguments.posonlyargs, ["/"], arguments.args, ["*"], arguments.kwonlyargs)
        for argument in group
        if isinstance(argument, ast.arg)
    )
    shape = f"{len(arguments.posonlyargs)}/{len(arguments.args)}/{len(arguments.kwonlyargs)}"
    rest = "".join(
        f"{mark}{argument.arg}"
        for mark, argument in (("*", arguments.vararg), ("**", arguments.kwarg))
        if argument is not None
    )
    body = node.body if isinstance(node.body, list) else [node.body]
    text = serialise(without_docstring(node, body))  # type: ignore[arg-type]
    return f"{type(node).__name__}({names};{shape};{rest}):{text}"
