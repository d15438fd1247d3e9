# fmt: off
# ruff: noqa: C416, F841, F842, PTH118, PTH123, RUF021, UP025
"""One function that uses most of the syntax that all supported versions have."""

import math
import os.path


def everything(a, /, b: int = 1, *args, c, d=None, **kwargs) -> "str":
    """Docstring."""
    total: float = 0.0
    count: int
    for i, (j, *k) in enumerate(args):
        if i and not j or k:
            continue
        elif i > 3 >= j != 2:
            break
        total += i ** 2 // 3 % 7 @ 1 if i is not None else -~+i
    else:
        total -= 1
    while total < 0:
        total <<= 1
    try:
        with open(os.path.join("a", "b")) as f, f:
            assert f, "never"
    except (OSError, ValueError) as error:
        raise RuntimeError(f"bad {error!r:>{b}} {b=} {{}} {math.pi:.3f}" "tail" f"{c}") from error
    except TypeError:
        pass
    finally:
        del total
    try:
        yield
    except* KeyError:
        pass
    numbers = [x * y for x in range(3) if x for y in [x, 1j, 0x10, 1_000, 1e3]]
    things = {k: v for k, v in kwargs.items()} | {**kwargs, "z": b"\x00", 1: ...}
    unique = {*numbers, 1} & {x for x in numbers}
    lazy = (n for n in numbers if (m := n))
    slices = numbers[1:2], numbers[::2, ...], numbers[-1]
    match things:
        case {"a": 1, "b": [x, _, *rest], **others} if x:
            yield x, rest, others
        case int(real=r) | float(r):
            yield r
        case "text" | None | -1 | 1 + 2j:
            yield from lazy
        case (1, 2) as pair:
            return pair
        case _:
            pass
    nonlocal_value = 0

    def inner(x, *, y=numbers):
        nonlocal nonlocal_value
        nonlocal_value += x
        return lambda z, *w, **v: (x, y, z, w, v)

    class Local(Exception):
        """Docstring."""

        size: int = 3
        other: "list[int]"

        @property
        def value(self):
            return self.size

    global COUNT
    COUNT = inner(1) and Local(unique, slices, "con" "cat", r"\d", u"u")
    return not COUNT


async def waiting(source):
    async with source as opened:
        async for item in opened:
            await item
    return [x async for x in source if await x]
