"""Registering ops: what may be registered, under which names, and the `@op` decorator.

Knows functions and their signatures; what identifies an op is `identity`'s business, running it
the runtime's.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable, Mapping
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, overload

from invariant_dask.errors import RegistrationError, SpecError
from invariant_dask.ops import claims
from invariant_dask.ops.entry import OnDrift, Op, bad_name, default_name, is_name, make_op
from invariant_dask.ops.identity import same_origin
from invariant_dask.ops.packages import functions_of
from invariant_dask.ops.table import LIBRARIES, OpTable

if TYPE_CHECKING:
    from invariant_dask.graph.model import Node

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)


class OpFunction(Protocol[P, R_co]):
    """A function registered with `@op`: still itself, with two attributes more."""

    __name__: str
    __qualname__: str
    op_name: str

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...

    def node(self, **params: Any) -> Node:
        """Return a node of this op with these parameters; they may be markers."""
        ...


class OpRegistry(OpTable):
    """Ops by name; safe to use from several threads.

    Parameters
    ----------
    stdlib : bool
        Whether our own libraries are there too, under `stdlib:` and `poly:`.
    discovery : bool
        Whether ops of installed packages are found when they are asked for.

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

    def __init__(self, *, stdlib: bool = True, discovery: bool = True) -> None:
        super().__init__(libraries=stdlib, discovery=discovery)

    def register(
        self,
        name: str,
        function: Callable[..., Any],
        *,
        version: str | None = None,
        inline: bool = False,
        requires: Iterable[str] | None = None,
        on_drift: OnDrift = "warn",
        traits: Iterable[str] = (),
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
        traits
            How it runs, such as `io-bound` or `blocking`, besides what `invariant`'s `@op_traits`
            says; for schedulers, never part of the identity.
        replace
            Take a name that another function has.

        Raises
        ------
        RegistrationError
            If the name is taken or not valid, or the function cannot be an op.
        """
        op = make_op(
            name,
            function,
            version=version,
            inline=inline,
            requires=requires,
            on_drift=on_drift,
            traits=traits,
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

        Classes with the methods of `ICacheable` that are in the modules of the functions become
        cacheable too.

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
        functions = functions_of(package, prefix)
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
        claims.claim_package(functions.values())
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
        traits: Iterable[str] = (),
    ) -> Callable[[Callable[P, R_co]], OpFunction[P, R_co]]: ...

    def op(self, name: Any = None, /, **options: Any) -> Any:
        """Register a function with this registry, as the module-level `op` does."""
        return op(name, registry=self, **options)


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
    traits: Iterable[str] = (),
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
    version, inline, requires, on_drift, traits
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


class ForeignRegistry(Protocol):
    """The registry of the package `invariant`: what is asked of it."""

    def has(self, name: str) -> bool: ...

    def get(self, name: str) -> Callable[..., Any]: ...


def adopt_registry(registry: object) -> OpTable:
    """Return where to look ops up: the same object, or one for the registry of `invariant`.

    That package is not imported: whoever has such a registry did it.

    Raises
    ------
    SpecError
        If it is neither.
    """
    if isinstance(registry, OpTable):
        return registry
    theirs = getattr(sys.modules.get("invariant.registry"), "OpRegistry", None)
    if isinstance(theirs, type) and isinstance(registry, theirs):
        return _Adopted(registry)
    msg = (
        f"registry is of type {type(registry).__name__}; pass an OpRegistry, or leave it out for "
        "the one that @op fills"
    )
    raise SpecError(msg)


class _Adopted(OpRegistry):
    """The ops of somebody else's registry, each taken over when it is asked for.

    Our own libraries stay in place of those that were written for the other engine.
    """

    def __init__(self, theirs: Any) -> None:
        super().__init__()
        self.theirs: ForeignRegistry = theirs

    def get(self, name: str) -> Op:
        if name.partition(":")[0] not in LIBRARIES and self.theirs.has(name):
            function = self.theirs.get(name)
            known = self._ops.get(name) or self._load_for(name)
            if known is None or not same_origin(known.function, function):
                self.register(name, function, replace=True)
        return super().get(name)


def _node(op_name: str, /, **params: Any) -> Node:
    from invariant_dask.graph.model import Node

    return Node(op_name, params)
