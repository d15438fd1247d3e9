"""Every exception of the package, split by who must act.

`SpecError` is for the author of a graph, `OpError` for the author of an op, `IntegrityError` says
that bytes disagree with their digest, `StoreError` and `SchedulerError` speak of the surroundings,
`InternalError` should be reported to us. Leaves also inherit the closest builtin, keep what they
know as attributes, build their own message and can be pickled.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def _rebuild(cls: type[InvariantError], fields: dict[str, object]) -> InvariantError:
    return cls(**fields)  # type: ignore[arg-type]  # each class takes its own fields back


def _rebuild_with_cause(
    cls: type[InvariantError], fields: dict[str, object], cause: BaseException | None
) -> InvariantError:
    error = _rebuild(cls, fields)
    error.__cause__ = cause
    return error


class InvariantError(Exception):
    """Base of all errors raised on purpose by this package.

    Subclasses pass their fields by keyword; each becomes an attribute and survives pickling.
    """

    place: str = ""
    """Where in a document the cause is, as `file:line:column`, if that is known."""

    def __init__(self, message: str = "", **fields: object) -> None:
        super().__init__(message)
        self._fields = fields
        for name, value in fields.items():
            setattr(self, name, value)

    def __str__(self) -> str:
        # KeyError would show the repr of its argument: one message, whatever the builtin base.
        text = str(self.args[0]) if self.args else ""
        return f"{self.place}: {text}" if self.place else text

    def __reduce__(self) -> tuple[object, ...]:
        fields, state = self._fields, {"place": self.place} if self.place else None
        if type(self).__init__ is InvariantError.__init__:
            fields = {"message": str(self.args[0]), **fields}
        return _rebuild, (type(self), fields), state


# --- the author of a graph must act -------------------------------------------------------------


class SpecError(InvariantError):
    """A graph, its values or its options are not valid; nothing was run."""


class NotCacheableError(SpecError, TypeError):
    """A value cannot be part of an identity.

    Attributes
    ----------
    path : str
        Where the value is, `$` being the whole: `$.layers[2].size`.
    reason : str
        What is wrong and what to pass instead.
    """

    path: str
    reason: str

    def __init__(self, *, path: str = "$", reason: str) -> None:
        super().__init__(f"{path}: {reason}", path=path, reason=reason)

    def within(self, step: str) -> NotCacheableError:
        """Return the same error seen from one level further out, unless it has a name already."""
        if not self.path.startswith("$"):
            return self
        return NotCacheableError(path="$" + step + self.path[1:], reason=self.reason)

    def of(self, root: str) -> NotCacheableError:
        """Return the same error with `$` replaced by a name, unless it has one already."""
        if not self.path.startswith("$"):
            return self
        return NotCacheableError(path=root + self.path[1:], reason=self.reason)


class GraphError(SpecError, ValueError):
    """A graph is not well formed."""


class ExpressionError(GraphError):
    """An expression cannot be parsed, or names what is not there."""


class SwitchError(GraphError):
    """The selector of a switch has a value for which there is no case."""

    def __init__(self, *, switch: str, case: str | None, cases: Sequence[str]) -> None:
        known = ", ".join(map(repr, cases))
        shown = "a secret" if case is None else repr(case)
        super().__init__(
            f"switch {switch!r}: the selector is {shown}, for which there is no case and no "
            f"default; the cases are {known}",
            switch=switch, case=case, cases=tuple(cases),
        )  # fmt: skip


class DocumentError(GraphError):
    """A graph document is not well formed.

    Parameters
    ----------
    reason
        What is wrong and what to do.
    source
        The file or resource, as people know it.
    line, column
        Where, counted from 1; 0 if not known.
    path
        The way to the place inside the document, such as `graph.sum.params`.
    """

    def __init__(
        self, reason: str, *, source: str = "", line: int = 0, column: int = 0, path: str = ""
    ) -> None:
        place = ":".join([source or "<document>", *([str(line), str(column)] if line else [])])
        where = f" (at {path})" if path else ""
        super().__init__(
            f"{place}: {reason}{where}",
            reason=reason, source=source, line=line, column=column, path=path,
        )  # fmt: skip


class CycleError(GraphError):
    """Nodes depend on each other in a circle, given as a path of node ids."""

    cycle: Sequence[str]

    def __init__(self, *, cycle: Sequence[str]) -> None:
        super().__init__("the graph has a cycle: " + " -> ".join(cycle), cycle=tuple(cycle))


class DanglingRefError(GraphError):
    """A node refers to something that is neither a node nor comes from outside.

    Attributes
    ----------
    node, ref : str
        Who refers to what.
    known : tuple of str
        What there is.
    outside : tuple of str or None
        What of it comes from outside the graph.
    kind : str
        What that is called, such as `context value`.
    """

    node: str
    ref: str
    kind: str

    def __init__(
        self,
        *,
        node: str,
        ref: str,
        known: Iterable[str] = (),
        outside: Iterable[str] | None = None,
        kind: str = "context value",
    ) -> None:
        known, also = tuple(known), ""
        text = f"node {node!r} refers to {ref!r}, which is not in the graph"
        if outside is not None:
            outside = tuple(outside)
            text += f", nor a {kind}"
            names = ", ".join(map(repr, sorted(outside)[:20]))
            also = f"; {kind}s: {names}" if names else f"; there is no {kind}"
        super().__init__(
            text + _did_you_mean(ref, known) + also,
            node=node, ref=ref, known=known, outside=outside, kind=kind,
        )  # fmt: skip


class DuplicateNodeError(GraphError):
    """A node id was given twice."""


class UnknownOpError(SpecError, LookupError):
    """No op is registered under a name.

    Attributes
    ----------
    op : str
        The name.
    node : str or None
        Who asked for it.
    reason : str
        Why it is not there, if that is known: its package could not be loaded.
    """

    op: str
    node: str | None
    reason: str

    def __init__(
        self, *, op: str, known: Iterable[str] = (), node: str | None = None, reason: str = ""
    ) -> None:
        known = tuple(known)
        where = f"node {node!r}: " if node is not None else ""
        hint = f"; {reason}" if reason else _did_you_mean(op, known)
        hint = hint or "; import the module that registers it"
        super().__init__(
            f"{where}no op named {op!r}{hint}", op=op, known=known, node=node, reason=reason
        )


class OpPackageWarning(UserWarning):
    """An installed package of ops cannot be used, or some of its ops cannot."""


class ParameterError(SpecError, TypeError):
    """A node's parameters do not fit the signature of its op."""


class OptionError(SpecError, TypeError):
    """An entry was given an option that it does not take."""

    def __init__(self, *, option: str, known: Iterable[str] = ()) -> None:
        known = tuple(known)
        hint = _did_you_mean(option, known) or f"; there are {', '.join(sorted(known))}"
        super().__init__(f"there is no option {option!r}{hint}", option=option, known=known)


class OutputsError(SpecError, ValueError):
    """The requested outputs are empty, repeated, unknown or not a sequence of node ids."""


class PictureError(SpecError, ValueError):
    """A picture was asked for in a form that there is not."""


class CodeIdentityError(SpecError, TypeError):
    """The code that an op reaches cannot be expressed in its identity.

    Attributes
    ----------
    op : str
        The op, or the qualified name of the function.
    path : str
        How the offending thing is reached, such as `shade -> _clip -> TABLE`.
    reason : str
        What cannot be expressed.
    """

    op: str
    path: str
    reason: str

    def __init__(self, *, op: str, path: str, reason: str) -> None:
        super().__init__(
            f"op {op!r}: cannot express {path}: {reason}; "
            "change it, or give the op a version= to take its identity into your own hands",
            op=op, path=path, reason=reason,
        )  # fmt: skip


class RegistrationError(SpecError, ValueError):
    """An op or type cannot be registered as asked."""


class StaleCodeError(SpecError, RuntimeError):
    """The code at hand is not the code that the digest was made from."""


# --- the author of an op must act ---------------------------------------------------------------


class OpError(InvariantError, RuntimeError):
    """An op failed, or returned what cannot be an artifact.

    Attributes
    ----------
    node, op, digest : str
        Node id, op name and planned digest in hex.
    cause_type, cause_text, traceback_text : str
        The original exception in words; it is also chained as `__cause__` where it can be pickled.
    """

    node: str
    op: str
    digest: str
    cause_type: str
    cause_text: str
    traceback_text: str

    def __init__(
        self,
        *,
        node: str,
        op: str,
        digest: str,
        cause_type: str = "",
        cause_text: str = "",
        traceback_text: str = "",
    ) -> None:
        super().__init__(
            self._message(
                f"node {node!r} (op {op}, digest {digest[:12]})", cause_type, cause_text
            ),
            node=node, op=op, digest=digest,
            cause_type=cause_type, cause_text=cause_text, traceback_text=traceback_text,
        )  # fmt: skip

    def _message(self, where: str, cause_type: str, cause_text: str) -> str:
        return f"{where} failed: {cause_type}: {cause_text}"

    def __reduce__(self) -> tuple[object, ...]:
        # Pickling an exception drops its cause; `runtime.failures` keeps only those that travel.
        return _rebuild_with_cause, (type(self), self._fields, self.__cause__)

    def renamed(self, node: str) -> OpError:
        """Return the same error under another node id (equal nodes of two graphs share a task)."""
        error = type(self)(**{**self._fields, "node": node})  # type: ignore[arg-type]
        error.__cause__ = self.__cause__
        return error


class OpFailedError(OpError):
    """An op raised an exception."""


class OpArgumentError(OpError, TypeError):
    """An op was not called: an argument is not what its type hints say."""

    def _message(self, where: str, cause_type: str, cause_text: str) -> str:  # noqa: ARG002
        return f"{where} did not run: {cause_text}"


class OpResultError(OpError, TypeError):
    """An op returned what cannot be an artifact, or is not what its type hints say."""

    def _message(self, where: str, cause_type: str, cause_text: str) -> str:  # noqa: ARG002
        return f"{where} returned {cause_text}"


# --- bytes disagree with their digest -----------------------------------------------------------


class IntegrityError(InvariantError, ValueError):
    """Stored or received bytes are not what their digest says."""


class EncodingError(IntegrityError):
    """Bytes are not in canonical form."""


class UnknownTypeError(IntegrityError, LookupError):
    """Bytes name a type that is not registered in this process.

    Attributes
    ----------
    name, identity : str
        What the bytes name; nothing is ever imported because of it.
    """

    name: str
    identity: str

    def __init__(self, *, name: str, identity: str) -> None:
        super().__init__(
            f"type {name!r} (identity {identity[:16]}) is not registered here; import the module "
            "that defines it, with @cacheable on the class",
            name=name, identity=identity,
        )  # fmt: skip


# --- the surroundings ---------------------------------------------------------------------------


class StoreError(InvariantError):
    """A store cannot be used as asked."""


class StoreUnavailableError(StoreError, OSError):
    """A store cannot be reached or written; trying again may help."""


class StoreLayoutError(StoreError, ValueError):
    """A path holds something else than a store, or a store of a newer layout version."""


class StoreNotSharedError(StoreError, OSError):
    """A worker does not see the store of the client."""


class TrustError(StoreError, ValueError):
    """A key, or what is said about whom to trust, cannot be used."""


class ArtifactNotFoundError(StoreError, KeyError):
    """A store holds nothing under a digest."""

    digest: str

    def __init__(self, *, digest: str, store: str = "the store", reason: str = "") -> None:
        why = f" ({reason})" if reason else ""
        super().__init__(
            f"{store} holds no artifact for {digest}{why}",
            digest=digest,
            store=store,
            reason=reason,
        )


class ArtifactLostError(StoreError, LookupError):
    """An artifact that was there when the run was planned is gone, or damaged, when needed.

    `.compute()` and `.run()` plan again by themselves; a user sees this only after three attempts.
    """

    digest: str
    reason: str

    def __init__(self, *, digest: str, reason: str) -> None:
        super().__init__(
            f"the artifact of {digest[:12]} went away during the run ({reason}); run again, "
            "by .compute() or .run() which plan anew",
            digest=digest, reason=reason,
        )  # fmt: skip


class ObserverError(InvariantError, RuntimeError):
    """Somebody who was to be told of a strict run failed; the run itself did not."""

    def __init__(self, *, observer: str, reason: str) -> None:
        super().__init__(
            f"{observer} failed: {reason}; leave out strict=True to run without it",
            observer=observer, reason=reason,
        )  # fmt: skip


class EventError(InvariantError, ValueError):
    """What is read from a journal, or arrives from a worker, is no event."""


class NewerEventsError(EventError):
    """A run was recorded by a version whose events this one would misread."""


class LedgerError(InvariantError):
    """The ledger, where runs are recorded, cannot be used as asked."""


class LedgerUnavailableError(LedgerError, OSError):
    """The ledger cannot be read or written; trying again may help."""


class LedgerLayoutError(LedgerError, ValueError):
    """A path holds something else than a ledger, one of a newer layout, or a damaged one."""


class RunNotFoundError(LedgerError, LookupError):
    """The ledger has no such run, or several that begin so."""


class FileInputError(SpecError, OSError):
    """An input file is absent, unreadable, or not the file that was hashed."""


class SchedulerError(InvariantError, ConnectionError):
    """A Dask scheduler does not answer or lost the run."""


class MissingExtraError(InvariantError, ImportError):
    """Something optional is not installed."""

    def __init__(self, *, extra: str, missing: Iterable[str]) -> None:
        missing = tuple(missing)
        super().__init__(
            f"{' and '.join(missing)} not found; run: pip install 'invariant-dask[{extra}]'",
            extra=extra, missing=missing,
        )  # fmt: skip


class GraphvizError(InvariantError, OSError):
    """Graphviz, which draws PNG and SVG files, is not there, or did not do it."""


class InternalError(InvariantError, AssertionError):
    """A broken promise inside this package; please report it."""


def _did_you_mean(name: str, known: Sequence[str]) -> str:
    from difflib import get_close_matches

    # What was only begun comes first.
    begun = sorted((each for each in known if name and each.startswith(name)), key=len)
    close = list(dict.fromkeys([*begun, *get_close_matches(name, known, n=3, cutoff=0.6)]))[:3]
    if close:
        return "; did you mean " + " or ".join(map(repr, close)) + "?"
    if len(known) == 1:
        return f"; there is only {known[0]!r}"
    if known and len(known) <= 8:
        return "; there are " + ", ".join(map(repr, sorted(known)))
    return ""
