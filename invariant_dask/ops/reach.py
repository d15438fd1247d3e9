"""The walk from a function to all own code that it reaches.

Each function and class becomes a part: its normalised syntax, and what each name in it stands for
now: a link to another part, a value, or the name of something installed. The order of parts is
that in which links lead to them from the start, so circles end and nothing depends on memory
addresses.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import importlib.util
import sys
from types import FunctionType, ModuleType
from typing import Any

from invariant_dask.errors import CodeIdentityError
from invariant_dask.ops.code_ast import serialise_function
from invariant_dask.ops.code_classes import class_source, write_class
from invariant_dask.ops.code_homes import (
    Home,
    home_of,
    home_of_module,
    home_of_name,
    home_of_namespace,
    is_ours,
    public_module,
    root_of,
)
from invariant_dask.ops.code_names import (
    Decorator,
    ImportedFrom,
    Names,
    Reference,
    decorators_of,
    names_of,
)
from invariant_dask.ops.code_source import NoSourceError, SourceFile, Sources
from invariant_dask.ops.code_values import (
    Chunks,
    Part,
    Path,
    Values,
    below,
    items,
    raw,
    text,
)

# Of each module, but says where it is or how it was loaded, not what it does.
_MODULE_FACTS = frozenset(
    {"__name__", "__file__", "__doc__", "__spec__", "__loader__", "__package__", "__path__",
     "__cached__", "__builtins__"}
)  # fmt: skip
_ABSENT = object()


class FunctionFacts:
    """What a definition says by itself; kept with its tree."""

    __slots__ = ("code", "decorators", "names")

    def __init__(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> None:
        self.code = serialise_function(node)
        self.names = names_of([node])
        self.decorators = decorators_of(node)


class Walk(Values):
    """One fingerprint in the making.

    Attributes
    ----------
    parts : list of Part
        In order, once `run` is through.
    shown : dict
        Constants, cells and defaults by label, with their chunks.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.sources = Sources()
        self.parts: list[Part] = []
        self.shown: dict[str, Chunks] = {}
        self.distributions: dict[str, str] = {}
        self.modules: set[str] = set()
        self.types: list[type] = []
        self.blind: set[str] = set()
        self._by_subject: dict[int, Part] = {}

    def run(self, start: Any, path: Path) -> None:
        """Walk from one object, until all that it reaches is in `parts`."""
        chunks: Chunks = []
        self.value(start, chunks, path)
        if len(chunks) == 1 and isinstance(chunks[0], Part):
            first = chunks[0]
        else:
            first = Part(f"callable {path[0]}", path, None)
            first.chunks = chunks
        self.parts.append(first)
        seen = {id(first)}
        for part in self.parts:  # grows while we go
            if isinstance(part.subject, FunctionType):
                self._write_function(part, part.subject)
            elif part.subject is not None:
                write_class(self, part, part.subject)
            for chunk in part.chunks:
                if isinstance(chunk, Part) and id(chunk) not in seen:
                    seen.add(id(chunk))
                    self.parts.append(chunk)

    # --- what values are made of ------------------------------------------------------------------

    def use(self, home: Home) -> None:
        if home.kind == "installed":
            self.distributions[home.distribution] = home.version

    def function(self, function: FunctionType, out: Chunks, path: Path) -> None:
        out.append(self._part("function", function, function.__globals__, path))

    def class_(self, cls: type, out: Chunks, path: Path) -> None:
        home = home_of(cls)
        if home.is_own:
            out.append(self._part("class", cls, None, path))
        else:
            self.named(cls.__module__, cls.__qualname__, out, path)

    def _part(self, kind: str, subject: Any, namespace: Any, path: Path) -> Part:
        part = self._by_subject.get(id(subject))
        if part is None:
            module = namespace.get("__name__") if namespace else subject.__module__
            label = f"{kind} {module}.{_qualname(subject)}"
            part = self._by_subject[id(subject)] = Part(label, path, subject)
            self.modules.add(str(module))
            if kind == "class":
                self.types.append(subject)
        return part

    def foreign_function(self, function: FunctionType, out: Chunks, path: Path) -> None:
        """Write a function of an installed or standard module, which may wrap own code."""
        namespace = function.__globals__
        home = home_of_namespace(namespace)
        self.use(home)
        registry = getattr(function, "registry", None)
        code = function.__code__
        out.append(items(2))
        self.named(namespace["__name__"], code.co_qualname, out, path)
        if registry is not None and hasattr(function, "dispatch"):
            pairs = []
            for cls, implementation in registry.items():
                pair: Chunks = []
                self.value(cls, pair, path)
                self.value(implementation, pair, below(path, f"[{cls.__name__}]"))
                pairs.append((f"{cls.__module__}.{cls.__qualname__}", pair))
            out.append(items(len(pairs)))
            for _, pair in sorted(pairs, key=lambda named: named[0]):
                out.append(items(2))
                out.extend(pair)
            return
        if home.distribution == "invariant-dask" or "<locals>" not in code.co_qualname:
            out.append(items(0))
            return
        inside: Chunks = []
        try:
            self._cells(function, inside, path)
        except CodeIdentityError:
            wrapped = getattr(function, "__wrapped__", None)
            if wrapped is None:
                raise
            # What an installed decorator keeps for itself came from the call that is written
            # above the function, where its arguments are seen.
            self.blind.add(f"{path[-1]}: what {code.co_qualname} keeps")
            inside = []
            self.value(wrapped, inside, path)
        out.extend(inside)

    def _cells(self, function: FunctionType, out: Chunks, path: Path) -> None:
        cells = sorted(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
        out.append(items(2 * len(cells)))
        for name, cell in cells:
            out.append(text(name))
            self.value(_content(cell), out, (*path, name))

    def module(self, module: ModuleType, out: Chunks, path: Path) -> None:
        home = home_of_module(module)
        self.use(home)
        if home.is_own:
            self._own_module(module, path)
            self.blind.add(f"{' -> '.join(path)}: a module that is passed around")
            out.append(items(1) + text("module"))
        else:
            out.append(items(2) + text("module") + text(_module_name(module.__name__)))

    def _own_module(self, module: ModuleType, path: Path) -> None:
        self.modules.add(module.__name__)
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and file.endswith((".so", ".pyd", ".dylib", ".dll")):
            raise self.refuse(path, f"{module.__name__} is compiled code, which has no source")

    # --- functions --------------------------------------------------------------------------------

    def _write_function(self, part: Part, function: FunctionType) -> None:
        facts, qualname, path = self._facts(part, function), _qualname(function), part.path
        namespace = function.__globals__
        root = root_of(namespace)
        out = part.chunks
        out.append(items(6) + text("function") + raw(facts.code))
        cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
        self.decorators(facts.decorators, namespace, cells, out, path)
        self.references(facts.names, namespace, cells, out, path, qualname)
        unused = sorted(cells.keys() - {r.name for r in facts.names.references})
        out.append(items(2 * len(unused)))
        for name in unused:  # __class__, for super()
            out.append(text(name))
            self.value(_content(cells[name]), out, (*path, name))
        self._defaults(function, qualname, out, path, root)

    def _facts(self, part: Part, function: FunctionType) -> FunctionFacts:
        shown = part.label.partition(" ")[2]
        try:
            file, node = self.sources.locate(function.__code__, function.__globals__, shown)
        except NoSourceError:
            reason = f"source not available ({function.__code__.co_filename})"
            raise self.refuse(part.path, reason) from None
        facts = file.notes.get(id(node))
        if facts is None:
            try:
                facts = file.notes[id(node)] = FunctionFacts(node)
            except (NotImplementedError, RecursionError) as error:
                raise self.refuse(part.path, str(error)) from error
        assert isinstance(facts, FunctionFacts)
        return facts

    def _defaults(
        self, function: FunctionType, qualname: str, out: Chunks, path: Path, root: str | None
    ) -> None:
        code = function.__code__
        defaults = function.__defaults__ or ()
        positional = code.co_varnames[: code.co_argcount]
        named = dict(zip(positional[len(positional) - len(defaults) :], defaults, strict=True))
        named.update(sorted((function.__kwdefaults__ or {}).items()))
        out.append(items(2 * len(named)))
        for name, value in named.items():
            out.append(text(name))
            self._show(f"default {qualname}.{name}", value, out, (*path, f"{name}="), root)

    def _show(self, label: str, value: Any, out: Chunks, path: Path, root: str | None) -> None:
        chunks: Chunks = []
        self.value(value, chunks, path, root)
        out.extend(chunks)
        if len(chunks) != 1 or isinstance(chunks[0], bytes):
            self.shown[label] = chunks

    def decorators(
        self,
        decorators: list[Decorator],
        namespace: dict[str, Any],
        cells: dict[str, Any],
        out: Chunks,
        path: Path,
    ) -> None:
        """Write decorators, but not those of this package: they hold hints, not code."""
        kept = [d for d in decorators if not _is_our_decorator(d.callee, namespace, cells)]
        out.append(items(2 * len(kept)))
        for decorator in kept:
            out.append(raw(decorator.code))
            self.references(decorator.names, namespace, cells, out, path, path[-1])

    # --- names ------------------------------------------------------------------------------------

    def references(
        self,
        names: Names,
        namespace: dict[str, Any],
        cells: dict[str, Any],
        out: Chunks,
        path: Path,
        qualname: str,
    ) -> None:
        """Write what each name stands for now."""
        for name, line in names.lookups:
            if name not in namespace and name not in cells:
                self.blind.add(f"{qualname} line {line}: {name}(...)")
        written: list[Chunks] = []
        for reference in names.references:
            chunks: Chunks = [text(reference.text)]
            if self._reference(reference, namespace, cells, chunks, path, qualname):
                written.append(chunks)
        out.append(items(2 * len(written)))
        for chunks in written:
            out.extend(chunks)

    def _reference(
        self,
        reference: Reference,
        namespace: dict[str, Any],
        cells: dict[str, Any],
        out: Chunks,
        path: Path,
        qualname: str,
    ) -> bool:
        """Write one; False if there is nothing to say of it."""
        name, attributes, where = reference.name, reference.attributes, (*path, reference.text)
        label = f"constant {namespace.get('__name__')}.{name}"
        if reference.imported is not None:
            found = self._imported(reference.imported, attributes, namespace, out, where)
            if found is _ABSENT:
                return not reference.statement or len(out) > 1
            if reference.statement and isinstance(found, ModuleType):
                self._own_module(found, where)
                return False
            label = f"constant {reference.imported.module}.{reference.imported.attribute or name}"
        elif name in cells:
            found, label = _content(cells[name]), f"closure {qualname}.{name}"
        elif name in _MODULE_FACTS and name in namespace:
            if name == "__file__":
                self.blind.add(f"{qualname} line {reference.line}: __file__")
            out.append(items(2) + text("module fact") + text(name))
            return True
        elif name in namespace:
            found = namespace[name]
        elif hasattr(builtins, name):
            out.append(items(2) + text("builtin") + text(name))
            return True
        elif not reference.certain:
            return False
        else:
            out.append(items(1) + text("missing"))
            return True
        self._follow(reference, found, attributes, label, namespace, out, where, qualname)
        return True

    def _follow(
        self,
        reference: Reference,
        found: Any,
        attributes: tuple[str, ...],
        label: str,
        namespace: dict[str, Any],
        out: Chunks,
        path: Path,
        qualname: str,
    ) -> None:
        rest = list(attributes)
        while isinstance(found, ModuleType):
            home = home_of_module(found)
            if not home.is_own:
                self._foreign_chain(found.__name__, home, rest, reference, out, qualname)
                return
            self._own_module(found, path)
            if not rest:
                self.blind.add(
                    f"{qualname} line {reference.line}: {reference.text}, a module passed around"
                )
                out.append(items(1) + text("module"))
                return
            attribute = rest.pop(0)
            if attribute in _MODULE_FACTS:
                out.append(items(2) + text("module fact") + text(attribute))
                return
            namespace, label = vars(found), f"constant {found.__name__}.{attribute}"
            found = getattr(found, attribute, _ABSENT)
            if found is _ABSENT:
                out.append(items(1) + text("missing"))
                return
        self._show(label, found, out, path, root_of(namespace))
        if not rest or not isinstance(found, FunctionType):
            return
        if rest[0] in vars(found) and home_of_namespace(found.__globals__).is_own:
            # An attribute of a function, which the code reads.
            if rest[0] not in {"op_name", "node", "__wrapped__"}:
                self.value(vars(found)[rest[0]], out, below(path, ""))
            else:
                out.append(b"\xf6")
            out.insert(1, items(2))

    def _foreign_chain(
        self,
        module: str,
        home: Home,
        rest: list[str],
        reference: Reference,
        out: Chunks,
        qualname: str,
    ) -> None:
        """Write a name of an installed or standard module, such as `np.linalg.norm`."""
        self.use(home)
        full = ".".join((_module_name(module), *rest))
        if home.kind == "stdlib":
            if full.startswith("importlib") or full == "sys.modules":
                self.blind.add(f"{qualname} line {reference.line}: {reference.text}")
            out.append(items(2) + text("stdlib") + text(full))
        else:
            out.append(items(3) + text("installed") + text(home.distribution) + text(full))

    def _imported(
        self,
        imported: ImportedFrom,
        attributes: tuple[str, ...],
        namespace: dict[str, Any],
        out: Chunks,
        path: Path,
    ) -> Any:
        """Return what an import inside a function gives; _ABSENT if it was written right away."""
        name = imported.module
        if imported.level:
            package = namespace.get("__package__") or ""
            try:
                name = importlib.util.resolve_name("." * imported.level + name, package)
            except ImportError:
                out.append(items(1) + text("missing"))
                return _ABSENT
        home = home_of_name(name)
        if not home.is_own:
            chain = [imported.attribute] * bool(imported.attribute) + list(attributes)
            reference = Reference(".".join((name, *chain)))
            self._foreign_chain(name, home, chain, reference, out, path[-2])
            return _ABSENT
        try:
            module = sys.modules.get(name) or importlib.import_module(name)
            found: Any = module
            if imported.attribute:
                self._own_module(module, path)
                found = getattr(module, imported.attribute, _ABSENT)
                if found is _ABSENT:
                    found = importlib.import_module(f"{name}.{imported.attribute}")
        except ImportError:
            out.append(items(1) + text("missing"))
            return _ABSENT
        except Exception as error:
            reason = f"importing {name} failed: {type(error).__name__}: {error}"
            raise self.refuse(path, reason) from error
        return found

    # --- classes ----------------------------------------------------------------------------------

    def class_source(self, cls: type) -> tuple[SourceFile, ast.ClassDef] | None:
        """Return where a class is written, or None if that cannot be told."""
        return class_source(self.sources, cls)


def _qualname(subject: Any) -> str:
    if isinstance(subject, FunctionType):
        return subject.__code__.co_qualname
    return str(subject.__qualname__)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return NotImplemented  # not filled yet; written like nothing else is


def _module_name(name: str) -> str:
    if name in {"posixpath", "ntpath"}:
        return "os.path"
    return public_module(name) if name.startswith("_") else name


def _is_our_decorator(
    chain: tuple[str, ...], namespace: dict[str, Any], cells: dict[str, Any]
) -> bool:
    if not chain:
        return False
    name, *rest = chain
    found = _content(cells[name]) if name in cells else namespace.get(name, _ABSENT)
    while found is not _ABSENT:
        if is_ours(found):
            return True
        if not rest or not isinstance(found, ModuleType):
            return False
        found = vars(found).get(rest.pop(0), _ABSENT)
    return False
