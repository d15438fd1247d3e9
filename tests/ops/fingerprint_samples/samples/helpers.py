SCALE = 1.5
TABLE = {"low": 1, "high": [2, 3.25, None], "set": {"a", "b", "c"}}


def clip(x, low=0, *, high=255):
    """Clip."""
    return max(low, min(x, high)) * SCALE


def lookup(key):
    return TABLE[key]
