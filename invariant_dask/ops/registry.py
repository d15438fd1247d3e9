"""Ops by name: what may be registered, under which names, and the `@op` decorator.

Knows functions and their signatures; what identifies an op is `identity`'s business, running it
the runtime's.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, overload

from invariant_dask.errors import RegistrationError, UnknownOpError
from invariant_dask.ops.entry import OnDrift, Op, bad_name, default_name, is_name, make_op
from invariant_dask.ops.identity import same_origin

if TYPE_CHECKING:
    from invariant_dask.graph.model import Node

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)

_STDLIB = "stdlib"


class OpFunction(Protocol[P, R_co]):
    """A function registered with `@op`: still itself, with two attributes more."""

    __name__: str
    __qualname__: str
    op_name: str

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...

    def node(self, **params: Any) -> Node:
        """Return a node of this op with these parameters; they may be markers."""
        ...


class OpRegistry:
    """Ops by name; safe to use from several threads.

    Parameters
    ----------
    stdlib : bool
        Whether the standard library is there too, under `stdlib:`.

    Examples
    --------
    >>> ops = OpRegistry()
    >>> @ops.op("text:shout", version="1")
    ... def shout(text, mark="!"):
    ...     return text.upper() + mark
    >>> ops.get("text:shout")
    <Op text:shout(text, mark='!'), version='1'>
    >>> ops.get("text:shot")
    Traceback (most recent call last):
    invariant_dask.errors.UnknownOpError: no op named 'text:shot'; did you mean 'text:shout'?
    """

    def __init__(self, *, stdlib: bool = True) -> None:
        self._lock = threading.RLock()
        self._with_stdlib = stdlib
        # Filled when first needed: most processes that import us need few of these ops, late.
        self._stdlib_pending = stdlib
        self._ops: dict[str, Op] = {}

    def register(
        self,
        name: str,
        function: Callable[..., Any],
        *,
        version: str | None = None,
        inline: bool = False,
        requires: Iterable[str] | None = None,
        on_drift: OnDrift = "warn",
        replace: bool = False,
    ) -> Op:
        """Register a callable under a name.

        The same function may be registered again, and so may its new definition after a reload or
        a second run of a notebook cell (same module, same qualified name): it takes the old one's
        place.

        Parameters
        ----------
        name
            Letters, digits and `_ - . : /`, starting with a letter; usually `package:verb`.
        function
            Called with keywords only.
        version
            Identifies the op instead of its code, until you change it.
        inline
            Evaluate it while compiling or inside each consumer; only for what is as good as free.
        requires
            Distributions whose version enters the identity; see `identify`.
        on_drift
            What to do when code changes under one `version`: `warn`, `error` or `ignore`.
        replace
            Take a name that another function has.

        Raises
        ------
        RegistrationError
            If the name is taken or not valid, or the function cannot be an op.
        """
        op = make_op(
            name, function, version=version, inline=inline, requires=requires, on_drift=on_drift
        )
        self._add([op], replace)
        return op

    def register_package(
        self,
        prefix: str,
        package: Mapping[str, Callable[..., Any]] | ModuleType | object,
        *,
        version: str | None = None,
        inline: Iterable[str] = (),
        requires: Iterable[str] | None = None,
        replace: bool = False,
    ) -> tuple[Op, ...]:
        """Register many functions as `prefix:name`, all of them or none.

        Parameters
        ----------
        prefix
            What stands before the colon.
        package
            A mapping from names to functions, or a module (or object) with such a mapping as `OPS`.
        version, requires, replace
            As for `register`, for each op.
        inline
            The names of those that are inline.

        Raises
        ------
        RegistrationError
            If `package` is neither, or any of the functions cannot be registered.
        """
        functions = getattr(package, "OPS", package)
        if not isinstance(functions, Mapping):
            msg = f"package {prefix!r}: expected a mapping or a module with OPS, got {package!r}"
            raise RegistrationError(msg)
        if not is_name(prefix):
            raise RegistrationError(bad_name(prefix))
        requires = None if requires is None else tuple(requires)
        inline = frozenset(inline)
        ops = tuple(
            make_op(
                f"{prefix}:{name}",
                function,
                version=version,
                inline=name in inline,
                requires=requires,
            )
            for name, function in functions.items()
        )
        if unknown := sorted(inline - functions.keys()):
            msg = f"package {prefix!r}: inline names {unknown}, which are not in the package"
            raise RegistrationError(msg)
        self._add(ops, replace)
        return ops

    @overload
    def op(self, name: Callable[P, R_co], /) -> OpFunction[P, R_co]: ...

    @overload
    def op(
        self,
        name: str | None = None,
        /,
        *,
        version: str | None = None,
        inline: bool = False,
        requires: Iterable[str] | None = None,
        on_drift: OnDrift = "warn",
    ) -> Callable[[Callable[P, R_co]], OpFunction[P, R_co]]: ...

    def op(self, name: Any = None, /, **options: Any) -> Any:
        """Register a function with this registry, as the module-level `op` does."""
        return op(name, registry=self, **options)

    def get(self, name: str) -> Op:
        """Return the op with a name.

        Raises
        ------
        UnknownOpError
            If there is none; the message names close matches.
        """
        found = self._ops.get(name)
        if found is None and self._stdlib_pending:
            found = self._all().get(name)
        if found is None:
            raise UnknownOpError(op=name, known=self.names())
        return found

    def has(self, name: str) -> bool:
        """Return whether there is an op with a name."""
        return name in self._all()

    def names(self) -> tuple[str, ...]:
        """Return all names, sorted."""
        return tuple(sorted(self._all()))

    def clear(self) -> None:
        """Forget all that was registered; the registry is as when it was new."""
        with self._lock:
            self._ops = {}
            self._stdlib_pending = self._with_stdlib

    def __contains__(self, name: object) -> bool:
        return name in self._all()

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self._all())

    def __repr__(self) -> str:
        counts: dict[str, int] = {}
        for name in self.names():
            package = name.partition(":")[0]
            counts[package] = counts.get(package, 0) + 1
        packages = ", ".join(f"{package}: {count}" for package, count in counts.items())
        return f"<OpRegistry of {len(self)} ops ({packages or 'empty'})>"

    def _all(self) -> Mapping[str, Op]:
        if self._stdlib_pending:
            with self._lock:
                if self._stdlib_pending:
                    self._ops = {**_stdlib_ops(), **self._ops}
                    self._stdlib_pending = False
        return self._ops

    def _add(self, ops: Iterable[Op], replace: bool) -> None:
        with self._lock:
            ops = tuple(ops)
            if any(op.name.startswith(_STDLIB) for op in ops):
                self._all()
            if not replace:
                for op in ops:
                    _check_free(op, self._ops.get(op.name))
            # One new table instead of many changes: readers see all of a package or none.
            self._ops = {**self._ops, **{op.name: op for op in ops}}


_DEFAULT = OpRegistry()


def default_registry() -> OpRegistry:
    """Return the registry of this process, which `@op` fills and `compile` reads."""
    return _DEFAULT


@overload
def op(name: Callable[P, R_co], /) -> OpFunction[P, R_co]: ...


@overload
def op(
    name: str | None = None,
    /,
    *,
    version: str | None = None,
    inline: bool = False,
    requires: Iterable[str] | None = None,
    on_drift: OnDrift = "warn",
    registry: OpRegistry | None = None,
) -> Callable[[Callable[P, R_co]], OpFunction[P, R_co]]: ...


def op(name: Any = None, /, *, registry: OpRegistry | None = None, **options: Any) -> Any:
    """Register a function as an op; use as `@op`, `@op("img:blur")` or `@op(version="3")`.

    The function stays as it is and can be called and pickled as before; it gains `op_name` and
    `node(**params)`, which makes a `Node`.

    Parameters
    ----------
    name
        By default `<last part of the module's name>:<name of the function>`.
    version, inline, requires, on_drift
        As for `OpRegistry.register`.
    registry
        By default that of the process.

    Raises
    ------
    RegistrationError
        If the function cannot be registered as asked.

    Examples
    --------
    >>> @op("math:double", version="1")
    ... def double(number):
    ...     return 2 * number
    >>> double(number=4)
    8
    >>> double.node(number=4).op_name
    'math:double'
    """
    if callable(name):
        return op(None, registry=registry, **options)(name)

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        target = default_registry() if registry is None else registry
        op_name = default_name(function) if name is None else name
        target.register(op_name, function, **options)
        if isinstance(function, FunctionType):
            function.op_name = op_name  # type: ignore[attr-defined]
            function.node = functools.partial(_node, op_name)  # type: ignore[attr-defined]
        return function

    return decorate


def _node(op_name: str, /, **params: Any) -> Node:
    from invariant_dask.graph.model import Node

    return Node(op_name, params)


def _stdlib_ops() -> dict[str, Op]:
    from invariant_dask.ops import stdlib

    ops = {}
    for short, function in stdlib.OPS.items():
        name = f"{_STDLIB}:{short}"
        version = stdlib.VERSIONS.get(short, stdlib.VERSION)
        inline = short in stdlib.INLINE
        ops[name] = make_op(name, function, version=version, inline=inline, requires=())
    return ops


def _check_free(new: Op, old: Op | None) -> None:
    if old is None or same_origin(old.function, new.function):
        return
    msg = (
        f"op {new.name!r} is already registered by {_where(old.function)}, and "
        f"{_where(new.function)} is another function; use another name or replace=True"
    )
    raise RegistrationError(msg)


def _where(function: Any) -> str:
    module, qualname = (
        getattr(function, "__module__", None),
        getattr(function, "__qualname__", None),
    )
    return f"{module}.{qualname}" if module and qualname else repr(function)
