"""From the syntax tree of a CEL expression to a function of its variables.

The tree comes from `celpy`'s parser. Its evaluator takes some hundred microseconds for what is one
addition, and knows no names before it runs; so evaluation is ours, by nested functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from invariant_dask.errors import ExpressionError
from invariant_dask.graph import cel_values as cel
from invariant_dask.graph.cel_literals import literal

Env = dict[str, Any]
Code: TypeAlias = Callable[[Env], Any]

_DEEPEST = 100
_MOST_TURNS = 100_000
_COUNT = ""  # no variable has this name
_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "addition_add": cel.add,
    "addition_sub": cel.subtract,
    "multiplication_mul": cel.multiply,
    "multiplication_div": cel.divide,
    "multiplication_mod": cel.remainder,
    "relation_eq": cel.equal,
    "relation_ne": cel.unequal,
    "relation_lt": cel.less,
    "relation_le": cel.at_most,
    "relation_gt": cel.greater,
    "relation_ge": cel.at_least,
    "relation_in": cel.contains,
}
_MACROS = {"all", "exists", "exists_one", "filter", "map"}


class Translator:
    """Translates one tree, and notes the names that it leaves open."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.local: list[str] = []
        self.depth = 0
        self.at: tuple[int, int] | None = None
        """Line and column of what could not be translated, if that is known."""

    def code(self, tree: Any) -> Code:
        """Return the function that evaluates a tree.

        Raises
        ------
        ExpressionError
            If it uses what is not there: a function, a macro, a kind of literal; or is nested too
            deep.
        """
        while len(tree.children) == 1 and tree.data in _SINGLE:
            tree = tree.children[0]
        self.depth += 1
        try:
            self.check_depth()
            return getattr(self, f"_{tree.data}")(tree)  # type: ignore[no-any-return]
        except ExpressionError:
            if self.at is None and not tree.meta.empty:
                self.at = tree.meta.line, tree.meta.column
            raise
        finally:
            self.depth -= 1

    def check_depth(self) -> None:
        if self.depth > _DEEPEST:
            msg = f"the expression is nested deeper than {_DEEPEST}; split it"
            raise ExpressionError(msg)

    # --- operators ---

    def _expr(self, tree: Any) -> Code:
        condition, yes, no = map(self.code, tree.children)

        def choose(env: Env) -> Any:
            chosen = condition(env)
            if type(chosen) is not bool:
                raise cel.fail(f"the condition before ? is a {cel.type_name(chosen)}, not a bool")
            return yes(env) if chosen else no(env)

        return choose

    def _logical(self, tree: Any, decisive: bool) -> Code:
        terms = [self.code(term) for term in _spine(tree)]

        def evaluate(env: Env) -> bool:
            # Any order gives the same: one decisive term is enough, whatever the others do.
            failed: ExpressionError | None = None
            for term in terms:
                try:
                    value = term(env)
                    if type(value) is not bool:
                        symbol = "||" if decisive else "&&"
                        raise cel.fail(f"{symbol} takes bools, not a {cel.type_name(value)}")
                except cel.TooLongError:
                    raise
                except ExpressionError as error:
                    failed = failed or error
                    continue
                if value is decisive:
                    return decisive
            if failed is not None:
                raise failed
            return not decisive

        return evaluate

    def _conditionalor(self, tree: Any) -> Code:
        return self._logical(tree, decisive=True)

    def _conditionaland(self, tree: Any) -> Code:
        return self._logical(tree, decisive=False)

    def _binary(self, tree: Any) -> Code:
        # Long sums lean to the left; they are no reason to nest.
        steps: list[tuple[Callable[[Any, Any], Any], Code]] = []
        while tree.data in _BINARY and len(tree.children) == 2:
            operation, right = tree.children
            steps.append((_OPERATORS[operation.data], self.code(right)))
            tree = operation.children[0]
            while len(tree.children) == 1 and tree.data in _BINARY:
                inner = tree.children[0]
                if inner.data not in _BINARY:
                    break
                tree = inner
        first = self.code(tree)
        if len(steps) == 1:
            ((operate, second),) = steps
            return lambda env: operate(first(env), second(env))
        steps.reverse()

        def evaluate(env: Env) -> Any:
            value = first(env)
            for operate, operand in steps:
                value = operate(value, operand(env))
            return value

        return evaluate

    _relation = _addition = _multiplication = _binary

    def _unary(self, tree: Any) -> Code:
        sign, operand = tree.children
        inner = self.code(operand)
        if sign.data == "unary_not":
            return lambda env: cel.negation(inner(env))
        return lambda env: cel.negate(inner(env))

    # --- names and members ---

    def _ident(self, tree: Any) -> Code:
        name = str(tree.children[0])
        if name not in self.local:
            self.names.add(name)
        return lambda env: env[name]

    _dot_ident = _ident

    def _member_dot(self, tree: Any) -> Code:
        value, name = self.code(tree.children[0]), str(tree.children[1])
        return lambda env: cel.field(value(env), name)

    def _member_index(self, tree: Any) -> Code:
        value, key = map(self.code, tree.children)
        return lambda env: cel.item(value(env), key(env))

    # --- calls ---

    def _ident_arg(self, tree: Any) -> Code:
        name, arguments = str(tree.children[0]), _arguments(tree.children[1:])
        if name == "has":
            return self._has(arguments)
        if name == "dyn" and len(arguments) == 1:
            return self.code(arguments[0])
        return self._call(name, cel.FUNCTIONS, [self.code(argument) for argument in arguments])

    _dot_ident_arg = _ident_arg

    def _member_dot_arg(self, tree: Any) -> Code:
        subject, name = tree.children[0], str(tree.children[1])
        arguments = _arguments(tree.children[2:])
        if name in _MACROS:
            return self._macro(name, self.code(subject), arguments)
        return self._call(name, cel.METHODS, [self.code(each) for each in (subject, *arguments)])

    def _call(
        self, name: str, functions: Mapping[str, tuple[int, Callable[..., Any]]], args: list[Code]
    ) -> Code:
        arity, function = functions.get(name, (-1, None))
        if function is None:
            known = ", ".join(sorted({*cel.FUNCTIONS, *cel.METHODS, *_MACROS, "has"}))
            msg = f"there is no function {name}(); there are {known}"
            raise ExpressionError(msg)
        if len(args) != arity:
            msg = f"{name}() takes {arity} values, not {len(args)}"
            raise ExpressionError(msg)
        if arity == 1:
            (only,) = args
            return lambda env: function(only(env))
        first, second = args
        return lambda env: function(first(env), second(env))

    def _has(self, arguments: list[Any]) -> Code:
        tree = arguments[0] if len(arguments) == 1 else None
        while tree is not None and len(tree.children) == 1 and tree.data in _SINGLE:
            tree = tree.children[0]
        if tree is None or tree.data != "member_dot":
            msg = "has() takes one field, as in has(x.width)"
            raise ExpressionError(msg)
        value, name = self.code(tree.children[0]), str(tree.children[1])

        def has(env: Env) -> bool:
            subject = value(env)
            return isinstance(subject, dict) and name in subject

        return has

    def _macro(self, name: str, subject: Code, arguments: list[Any]) -> Code:
        variable = _name_of(arguments[0]) if len(arguments) == 2 else None
        if variable is None:
            msg = f"{name}() takes a variable and an expression, as in items.{name}(i, i > 0)"
            raise ExpressionError(msg)
        self.local.append(variable)
        try:
            body = self.code(arguments[1])
        finally:
            self.local.pop()

        def each(env: Env) -> list[tuple[Any, Any]]:
            value = subject(env)
            if not isinstance(value, list | dict):
                raise cel.fail(f"{name}() is for lists and maps, not for a {cel.type_name(value)}")
            # Nested macros multiply; the count is kept with the variables, for all of them.
            count = env[_COUNT] = env.get(_COUNT) or [0]
            inner, results = dict(env), []
            for item in value:
                count[0] += 1
                if count[0] > _MOST_TURNS:
                    msg = f"the macros of an expression take more than {_MOST_TURNS:,} turns"
                    raise cel.TooLongError(msg)
                inner[variable] = item
                try:
                    results.append((item, body(inner)))
                except cel.TooLongError:
                    raise
                except ExpressionError as error:
                    if name not in _DECISIVE:
                        raise
                    results.append((item, error))
            return results

        return _FOLDS[name](each)

    # --- literals ---

    def _list_lit(self, tree: Any) -> Code:
        items = [self.code(item) for item in _arguments(tree.children)]
        return lambda env: [item(env) for item in items]

    def _map_lit(self, tree: Any) -> Code:
        inits = tree.children[0].children if tree.children else []
        pairs = [(self.code(inits[i]), self.code(inits[i + 1])) for i in range(0, len(inits), 2)]

        def evaluate(env: Env) -> dict[Any, Any]:
            made: dict[Any, Any] = {}
            for key, value in pairs:
                name = key(env)
                if type(name) not in (str, int):
                    raise cel.fail(f"a key of a map is a string or an int, not {name!r}")
                if name in made:
                    raise cel.fail(f"the key {name!r} is given twice")
                made[name] = value(env)
            return made

        return evaluate

    def _literal(self, tree: Any) -> Code:
        value = literal(tree.children[0])
        return lambda _env: value

    def _member_object(self, _tree: Any) -> Code:
        msg = "message literals such as Type{field: 1} are not there"
        raise ExpressionError(msg)


_BINARY = {"relation", "addition", "multiplication"}
_SINGLE = {
    "expr", "conditionalor", "conditionaland", "relation", "addition", "multiplication", "unary",
    "member", "primary", "paren_expr",
}  # fmt: skip


def _spine(tree: Any) -> list[Any]:
    """Return the terms of a chain of one logical operator, from the left."""
    kind, terms = tree.data, []
    while tree.data == kind and len(tree.children) == 2:
        terms.append(tree.children[1])
        tree = tree.children[0]
    terms.append(tree)
    return terms[::-1]


def _arguments(children: list[Any]) -> list[Any]:
    return list(children[0].children) if children else []


def _name_of(tree: Any) -> str | None:
    while len(tree.children) == 1 and tree.data in _SINGLE:
        tree = tree.children[0]
    return str(tree.children[0]) if tree.data == "ident" else None


_DECISIVE = {"all": False, "exists": True}
"""Macros that one result decides, whatever the others do."""

Each: TypeAlias = Callable[[Env], "list[tuple[Any, Any]]"]


def _decided(each: Each, decisive: bool) -> Code:
    def fold(env: Env) -> bool:
        results = [result for _, result in each(env)]
        if any(result is decisive for result in results):
            return decisive
        for result in results:
            if isinstance(result, ExpressionError):
                raise result
            if type(result) is not bool:
                raise cel.fail("the expression of a macro must give a bool")
        return not decisive

    return fold


def _only_one(each: Each) -> Code:
    def fold(env: Env) -> bool:
        results = [result for _, result in each(env)]
        if any(type(result) is not bool for result in results):
            raise cel.fail("the expression of a macro must give a bool")
        return results.count(True) == 1

    return fold


def _filtered(each: Each) -> Code:
    def fold(env: Env) -> list[Any]:
        return [item for item, result in each(env) if cel.equal(result, True)]

    return fold


_FOLDS: dict[str, Callable[[Each], Code]] = {
    "all": lambda each: _decided(each, _DECISIVE["all"]),
    "exists": lambda each: _decided(each, _DECISIVE["exists"]),
    "exists_one": _only_one,
    "filter": _filtered,
    "map": lambda each: lambda env: [result for _, result in each(env)],
}
