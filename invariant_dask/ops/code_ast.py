"""A function's syntax tree as bytes that hold across Python versions.

What has no effect on results is left out: positions, comments, docstrings, annotations of
functions and variables, statements without effect. Knows trees only, no live objects.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

# Of each node, the fields that count, in the order in which they are written. A node or field that
# a newer Python adds is unknown here until it is added; empty fields are not written, so a field
# that is new and unused changes nothing.
_FIELDS: dict[str, tuple[str, ...]] = {
    "FunctionDef": ("name", "args", "body", "decorator_list"),
    "AsyncFunctionDef": ("name", "args", "body", "decorator_list"),
    "ClassDef": ("name", "bases", "keywords", "body", "decorator_list"),
    "Return": ("value",), "Delete": ("targets",), "Assign": ("targets", "value"),
    "TypeAlias": ("name", "value"), "AugAssign": ("target", "op", "value"),
    "AnnAssign": ("target", "annotation", "value"),
    "For": ("target", "iter", "body", "orelse"), "AsyncFor": ("target", "iter", "body", "orelse"),
    "While": ("test", "body", "orelse"), "If": ("test", "body", "orelse"),
    "With": ("items", "body"), "AsyncWith": ("items", "body"), "Match": ("subject", "cases"),
    "Raise": ("exc", "cause"), "Try": ("body", "handlers", "orelse", "finalbody"),
    "TryStar": ("body", "handlers", "orelse", "finalbody"), "Assert": ("test", "msg"),
    "Import": ("names",), "ImportFrom": ("module", "names", "level"),
    "Global": ("names",), "Nonlocal": ("names",), "Expr": ("value",),
    "Pass": (), "Break": (), "Continue": (),
    "BoolOp": ("op", "values"), "NamedExpr": ("target", "value"), "BinOp": ("left", "op", "right"),
    "UnaryOp": ("op", "operand"), "Lambda": ("args", "body"), "IfExp": ("test", "body", "orelse"),
    "Dict": ("keys", "values"), "Set": ("elts",), "ListComp": ("elt", "generators"),
    "SetComp": ("elt", "generators"), "DictComp": ("key", "value", "generators"),
    "GeneratorExp": ("elt", "generators"), "Await": ("value",), "Yield": ("value",),
    "YieldFrom": ("value",), "Compare": ("left", "ops", "comparators"),
    "Call": ("func", "args", "keywords"),
    "FormattedValue": ("value", "conversion", "format_spec"), "JoinedStr": ("values",),
    "Interpolation": ("value", "str", "conversion", "format_spec"), "TemplateStr": ("values",),
    "Constant": ("value",), "Attribute": ("value", "attr"), "Subscript": ("value", "slice"),
    "Starred": ("value",), "Name": ("id",), "List": ("elts",), "Tuple": ("elts",),
    "Slice": ("lower", "upper", "step"),
    "comprehension": ("target", "iter", "ifs", "is_async"),
    "ExceptHandler": ("type", "name", "body"),
    "arguments": (
        "posonlyargs", "args", "vararg", "kwonlyargs", "kw_defaults", "kwarg", "defaults",
    ),
    "arg": ("arg",), "keyword": ("arg", "value"), "alias": ("name", "asname"),
    "withitem": ("context_expr", "optional_vars"), "match_case": ("pattern", "guard", "body"),
    "MatchValue": ("value",), "MatchSingleton": ("value",), "MatchSequence": ("patterns",),
    "MatchMapping": ("keys", "patterns", "rest"),
    "MatchClass": ("cls", "patterns", "kwd_attrs", "kwd_patterns"), "MatchStar": ("name",),
    "MatchAs": ("pattern", "name"), "MatchOr": ("patterns",),
}  # fmt: skip
_FIELDS |= dict.fromkeys(
    [
        "And",
        "Or",
        "Add",
        "Sub",
        "Mult",
        "MatMult",
        "Div",
        "Mod",
        "Pow",
        "LShift",
        "RShift",
        "BitOr",
        "BitXor",
        "BitAnd",
        "FloorDiv",
        "Invert",
        "Not",
        "UAdd",
        "USub",
        "Eq",
        "NotEq",
        "Lt",
        "LtE",
        "Gt",
        "GtE",
        "Is",
        "IsNot",
        "In",
        "NotIn",
    ],
    (),
)

# In these, None is a value and not the absence of one.
_NONE_COUNTS = frozenset({"Constant", "MatchSingleton"})


def serialise(node: ast.AST) -> bytes:
    """Return the bytes of a tree."""
    out: list[bytes] = []
    _write(node, out)
    return b"".join(out)


def serialise_function(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> bytes:
    """Return the bytes of a function that is alive: its decorators and defaults are seen there."""
    out: list[bytes] = [type(node).__name__.encode(), b"("]
    if not isinstance(node, ast.Lambda):
        out.append(_text(node.name))
    arguments = node.args
    for field in ("posonlyargs", "args", "vararg", "kwonlyargs", "kwarg"):
        _write_field(field, getattr(arguments, field), out)
    _write_field("body", node.body, out)
    out.append(b")")
    return b"".join(out)


def _write(node: Any, out: list[bytes]) -> None:
    kind = type(node).__name__
    fields = _FIELDS.get(kind)
    if fields is None:
        msg = f"syntax that this version does not know: {kind}"
        raise NotImplementedError(msg)
    out.append(kind.encode())
    out.append(b"(")
    for field in fields:
        value: Any = getattr(node, field, None)
        if kind in {"JoinedStr", "TemplateStr"}:
            value = _merged(value)
        if value is None and kind in _NONE_COUNTS:
            out.append(b"None")
        elif field == "body" and kind == "ClassDef":
            _write_statements(value, out, in_class=True)
        else:
            _write_field(field, value, out)
    out.append(b")")


def _write_field(field: str, value: Any, out: list[bytes]) -> None:
    if value is None or value == [] or (field in {"level", "is_async"} and value == 0):
        return
    out.append(field.encode() + b"=")
    if isinstance(value, list):
        if field in {"body", "orelse", "finalbody"}:
            _write_statements(value, out)
            return
        out.append(b"[")
        for item in value:
            # A missing default or the key of `**other` in a dict display.
            _write_item(item, out) if item is not None else out.append(b"-")
            out.append(b",")
        out.append(b"]")
    else:
        _write_item(value, out)
    out.append(b";")


def _write_item(value: Any, out: list[bytes]) -> None:
    if isinstance(value, ast.AST):
        _write(value, out)
    else:
        out.append(_constant(value))


def _write_statements(
    body: Sequence[ast.stmt], out: list[bytes], *, in_class: bool = False
) -> None:
    out.append(b"[")
    for statement in body:
        if isinstance(statement, ast.Pass) or (
            isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        ):
            continue  # docstrings among them
        if isinstance(statement, ast.AnnAssign) and not in_class:
            if statement.value is None:
                continue
            # The annotation of a local is never evaluated.
            statement = ast.Assign(targets=[statement.target], value=statement.value)  # noqa: PLW2901
        _write(statement, out)
        out.append(b",")
    out.append(b"]")


def _merged(values: list[ast.expr]) -> list[ast.expr]:
    """Return the parts of a formatted string with neighbouring texts joined and no empty ones."""
    merged: list[ast.expr] = []
    for value in values:
        if isinstance(value, ast.Constant):
            if not value.value:
                continue
            if merged and isinstance(last := merged[-1], ast.Constant):
                merged[-1] = ast.Constant(value=str(last.value) + str(value.value))
                continue
        merged.append(value)
    return merged


def _text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogatepass")
    return b"s%d:%s" % (len(data), data)


def _constant(value: Any) -> bytes:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bytes):
        return b"b%d:%s" % (len(value), value)
    if isinstance(value, bool) or value is None or value is Ellipsis:
        return repr(value).encode()
    if isinstance(value, int):
        return b"%x" % value if value >= 0 else b"-%x" % -value
    if isinstance(value, float):
        return b"f" + value.hex().encode()
    if isinstance(value, complex):
        return b"c" + value.real.hex().encode() + b"," + value.imag.hex().encode()
    msg = f"a literal that this version does not know: {type(value).__name__}"
    raise NotImplementedError(msg)
