"""An own class as content of a fingerprint: what its body left behind, and how it was declared.

Methods and attributes are taken from the live class; decorators, keywords and the annotations that
make fields come from its source, where they read the same under every Python version.
"""

from __future__ import annotations

import ast
import dataclasses
import enum
import inspect
import sys
from types import FunctionType, GetSetDescriptorType, MemberDescriptorType
from typing import Any

from invariant_dask.errors import StaleCodeError
from invariant_dask.ops.code_ast import serialise
from invariant_dask.ops.code_homes import home_of_namespace, root_of
from invariant_dask.ops.code_names import decorators_of, names_of
from invariant_dask.ops.code_parts import Chunks, Part, Path, below, items, raw, text
from invariant_dask.ops.code_resolve import Resolver
from invariant_dask.ops.code_source import NoSourceError, SourceFile, Sources

# Made by Python or its library from what is written in the class; some only by newer ones.
_DERIVED = frozenset(
    {"__module__", "__qualname__", "__doc__", "__dict__", "__weakref__", "__annotations__",
     "__annotate__", "__annotate_func__", "__annotations_cache__", "__conditional_annotations__",
     "__firstlineno__", "__static_attributes__", "__type_params__", "__parameters__",
     "__orig_bases__", "__abstractmethods__", "_abc_impl", "__dataclass_fields__",
     "__dataclass_params__", "__match_args__", "__replace__", "__classcell__",
     "__classdictcell__", "__protocol_attrs__", "__non_callable_proto_members__",
     "__callable_proto_members_only__", "_is_protocol", "_is_runtime_protocol",
     "__attrs_attrs__", "__attrs_own_setattr__", "__attrs_props__"}
)  # fmt: skip
_FIELD_FACTS = ("init", "repr", "hash", "compare", "kw_only")


def write_class(walk: Resolver, sources: Sources, part: Part, cls: type) -> None:
    """Write the content of an own class."""
    out, path = part.chunks, part.path
    module = sys.modules.get(cls.__module__)
    namespace = {} if module is None else vars(module)
    out.append(items(7) + text("class") + text(cls.__name__))
    walk.sequence("bases", cls.__bases__, out, below(path, "<base>"))
    walk.value(None if type(cls) is type else type(cls), out, below(path, "<metaclass>"))
    _write_declaration(walk, class_source(sources, cls), cls, namespace, out, path)
    _write_fields(walk, cls, out, path)
    root = root_of(namespace)
    kept = [(name, cls.__dict__[name]) for name in sorted(cls.__dict__) if _counts(cls, name)]
    out.append(items(2 * len(kept)))
    for name, value in kept:
        out.append(text(name))
        walk.value(value, out, (*path, name), root)


def _counts(cls: type, name: str) -> bool:
    value = cls.__dict__[name]
    if name in _DERIVED or isinstance(value, (MemberDescriptorType, GetSetDescriptorType)):
        return False
    inner = getattr(value, "__func__", value)
    generated = isinstance(inner, FunctionType) and (
        # By exec, in dataclasses, namedtuple or attrs; or by the library, in Enum or Protocol.
        inner.__code__.co_filename.startswith(("<string>", "<attrs"))
        or not home_of_namespace(inner.__globals__).is_own
        or inner.__globals__.get("__name__", "").startswith("namedtuple_")
    )
    if generated and (name.startswith("__") or "_fields" in cls.__dict__):
        return False
    if issubclass(cls, enum.Enum):
        # Members are written as fields; the rest is bookkeeping that differs between versions.
        member = name in cls.__members__
        sunder = name.startswith("_") and not (isinstance(inner, FunctionType) and not generated)
        return not member and not sunder
    return not ("_fields" in cls.__dict__ and type(value).__name__ == "_tuplegetter")


def _write_declaration(
    walk: Resolver,
    located: tuple[SourceFile, ast.ClassDef] | None,
    cls: type,
    namespace: dict[str, Any],
    out: Chunks,
    path: Path,
) -> None:
    out.append(items(4))
    if located is None:
        out.append(items(0) + items(0) + items(0))
        annotated = _live_annotations(cls)
        out.append(items(len(annotated)) + b"".join(map(text, annotated)))
        return
    file, node = located
    facts = file.notes.get(id(node))
    if facts is None:
        facts = file.notes[id(node)] = _ClassFacts(node)
    walk.decorators(facts.decorators, namespace, {}, out, path)
    out.append(raw(facts.keywords))
    walk.references(facts.names, namespace, {}, out, path, cls.__qualname__)
    out.append(items(2 * len(facts.annotations)))
    for name, annotation in facts.annotations:
        out.append(text(name) + raw(annotation))
    _check_loaded(cls, facts, file)


class _ClassFacts:
    def __init__(self, node: ast.ClassDef) -> None:
        self.decorators = decorators_of(node)
        self.keywords = b"".join(
            serialise(keyword) for keyword in node.keywords if keyword.arg != "metaclass"
        )
        self.names = names_of([k.value for k in node.keywords if k.arg != "metaclass"])
        self.annotations = [
            (statement.target.id, serialise(statement.annotation))
            for statement in node.body
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
        ]


def _check_loaded(cls: type, facts: _ClassFacts, file: SourceFile) -> None:
    if issubclass(cls, tuple):
        return
    live = _live_annotations(cls)
    written = [name for name, _ in facts.annotations if not name.startswith("__")]
    if [name for name in live if name in written] != list(dict.fromkeys(written)):
        msg = (
            f"the source of class {cls.__qualname__} changed since it was imported ({file.path}); "
            "reload the module or restart the process"
        )
        raise StaleCodeError(msg)


def _live_annotations(cls: type) -> list[str]:
    if sys.version_info >= (3, 14):
        import annotationlib

        # Evaluated when asked for, and names in them may exist for type checkers only.
        return list(annotationlib.get_annotations(cls, format=annotationlib.Format.FORWARDREF))
    return list(inspect.get_annotations(cls))


def _write_fields(walk: Resolver, cls: type, out: Chunks, path: Path) -> None:
    """Write members of an enum, or fields of a dataclass or named tuple."""
    if issubclass(cls, enum.Enum):
        members = [(name, member.value) for name, member in cls.__members__.items()]
        walk.sequence("members", members, out, path)
    elif "__dataclass_fields__" in cls.__dict__:
        fields = cls.__dict__["__dataclass_fields__"]
        out.append(items(2 * len(fields)))
        for name, field in fields.items():
            out.append(text(name))
            facts = [getattr(field, fact) for fact in _FIELD_FACTS]
            facts += [_default(field.default), _default(field.default_factory)]
            # ClassVar and InitVar are fields of other kinds.
            facts += [field._field_type.name, dict(field.metadata)]  # noqa: SLF001
            walk.sequence("field", facts, out, (*path, name))
    elif issubclass(cls, tuple) and "_fields" in cls.__dict__:
        own = cls.__dict__
        walk.sequence("fields", (*own["_fields"], own["_field_defaults"]), out, path)
    else:
        out.append(items(0))


def _default(value: Any) -> Any:
    return NotImplemented if value is dataclasses.MISSING else value


def class_source(sources: Sources, cls: type) -> tuple[SourceFile, ast.ClassDef] | None:
    """Return where a class is written, or None if that cannot be told."""
    namespace = vars(sys.modules[cls.__module__]) if cls.__module__ in sys.modules else {}
    methods = [
        inner.__code__
        for value in cls.__dict__.values()
        if isinstance(inner := getattr(value, "__func__", value), FunctionType)
        and inner.__code__.co_qualname == f"{cls.__qualname__}.{inner.__code__.co_name}"
        and not inner.__code__.co_filename.startswith("<string>")
    ]
    name = methods[0].co_filename if methods else namespace.get("__file__")
    if not isinstance(name, str):
        return None
    try:
        file = sources.file(name, namespace)
    except NoSourceError:
        return None
    found = file.classes.get(cls.__qualname__, [])
    if len(found) > 1:
        found = _the_right_one(found, methods, cls) or found
    return (file, found[-1]) if found else None


def _the_right_one(found: list[ast.ClassDef], methods: list[Any], cls: type) -> list[ast.ClassDef]:
    line = cls.__dict__.get("__firstlineno__")
    first = [n for n in found if min([n.lineno, *(d.lineno for d in n.decorator_list)]) == line]
    names = {code.co_name for code in methods}
    return first or [
        node
        for node in found
        if names
        <= {s.name for s in node.body if isinstance(s, (ast.FunctionDef, ast.AsyncFunctionDef))}
    ]
