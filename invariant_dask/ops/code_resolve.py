"""What the names in own code stand for: links, values, or what is installed under a name.

Looks names up as Python does, in cells, globals and builtins, and follows attributes of modules.
Where a function or class is met, it is left to the walk.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import sys
from types import FunctionType, ModuleType
from typing import Any

from invariant_dask.ops.code_homes import (
    Home,
    home_of_module,
    home_of_name,
    home_of_namespace,
    is_ours,
    public_module,
    root_of,
)
from invariant_dask.ops.code_names import Decorator, ImportedFrom, Names, Reference
from invariant_dask.ops.code_parts import Chunks, Path, below, items, raw, text
from invariant_dask.ops.code_values import Values

# Of each module, but says where it is or how it was loaded, not what it does.
_MODULE_FACTS = frozenset(
    {"__name__", "__file__", "__doc__", "__spec__", "__loader__", "__package__", "__path__",
     "__cached__", "__builtins__"}
)  # fmt: skip
_ABSENT = object()
_TRAITS_MODULE = "invariant.traits"


class Resolver(Values):
    """Writes what names stand for.

    Attributes
    ----------
    shown : dict
        Constants, cells and defaults by label, with their chunks.
    distributions : dict
        Installed distributions that were met, with their versions.
    modules : set of str
        Own modules that were met.
    blind : set of str
        What could not be seen.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.shown: dict[str, Chunks] = {}
        self.distributions: dict[str, str] = {}
        self.modules: set[str] = set()
        self.blind: set[str] = set()

    def use(self, home: Home) -> None:
        if home.kind == "installed":
            self.distributions[home.distribution] = home.version

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

    def show(self, label: str, value: Any, out: Chunks, path: Path, root: str | None) -> None:
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
        """Write decorators, but not those that hold hints, not code: ours, and of traits."""
        kept = [d for d in decorators if not _holds_hints(d.callee, namespace, cells)]
        out.append(items(2 * len(kept)))
        for decorator in kept:
            out.append(raw(decorator.code))
            self.references(decorator.names, namespace, cells, out, path, path[-1])

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
            found, label = content_of(cells[name]), f"closure {qualname}.{name}"
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
        self.show(label, found, out, path, root_of(namespace))
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


def content_of(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return NotImplemented  # not filled yet; written like nothing else is


def _module_name(name: str) -> str:
    if name in {"posixpath", "ntpath"}:
        return "os.path"
    return public_module(name) if name.startswith("_") else name


def _holds_hints(chain: tuple[str, ...], namespace: dict[str, Any], cells: dict[str, Any]) -> bool:
    if not chain:
        return False
    name, *rest = chain
    found = content_of(cells[name]) if name in cells else namespace.get(name, _ABSENT)
    while found is not _ABSENT:
        if is_ours(found) or getattr(found, "__module__", None) == _TRAITS_MODULE:
            return True
        if not rest or not isinstance(found, ModuleType):
            return False
        found = vars(found).get(rest.pop(0), _ABSENT)
    return False
