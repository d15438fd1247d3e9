# ruff: noqa: E731, F821, UP033
import contextlib
import functools
import logging

from samples import helpers

log = logging.getLogger(__name__)


def times(n):
    def decorate(function):
        @functools.wraps(function)
        def inner(*args, **kwargs):
            log.info("called")
            return n * function(*args, **kwargs)

        return inner

    return decorate


@functools.lru_cache(maxsize=None)
def cached(x):
    return helpers.clip(x)


@functools.singledispatch
def kinds(x):
    return 0


@kinds.register(int)
def _(x):
    return 1


@kinds.register(str)
def _(x):
    return odd(x)


@contextlib.contextmanager
def frame(size):
    yield size


def odd(x):
    return x and even(x - 1)


def even(x):
    return not x or odd(x - 1)


@times(3)
def shade(x, *, scale=helpers.SCALE):
    with frame(x) as size:
        return cached(size) + kinds(size) + helpers.lookup("low") + missing_name


partial = functools.partial(helpers.clip, low=1)
anonymous = lambda x: even(x) + 1
