"""What stands for an op in every digest: its declared version, its home, or its code.

This module decides between the three (DESIGN 3.4 in one function, `identify`). How code becomes a
fingerprint is `fingerprint`'s business; where the identity enters a manifest is the compiler's.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import FunctionType
from typing import TYPE_CHECKING, Any

from invariant_dask.core.encode import encode
from invariant_dask.errors import CodeIdentityError, RegistrationError, StaleCodeError

if TYPE_CHECKING:
    from invariant_dask.ops.fingerprint import Fingerprint

OWN_DISTRIBUTION = "invariant-dask"
"""Never among what an op requires: a release of this package must not empty caches."""

_MAIN_MODULES = frozenset({"__main__", "__mp_main__"})


@dataclass(frozen=True, slots=True)
class OpIdentity:
    """The identity of one op, as it enters manifests.

    Attributes
    ----------
    name : str
        The registered name.
    kind : str
        `version` (declared), `installed` (the op lives in an installed distribution) or `code`.
    value : str
        The version, `<distribution>==<version>:<module>:<qualname>`, or the fingerprint in hex.
    requires : Mapping[str, str]
        The distributions that enter, with their installed versions.
    code : Fingerprint or None
        What was found in the code; explains and ships the op, is no part of its identity.
    """

    name: str
    kind: str
    value: str
    requires: Mapping[str, str] = field(default_factory=dict, hash=False)
    code: Fingerprint | None = field(default=None, compare=False, repr=False)

    def encode(self) -> bytes:
        """Return the canonical form, `[name, kind, value, {distribution: version}]`."""
        # The storage form: it keeps long names readable for those who explain a manifest.
        return encode([self.name, self.kind, self.value, dict(self.requires)]).storage


def identify(
    name: str,
    function: Callable[..., Any],
    *,
    version: str | None = None,
    requires: Iterable[str] | None = None,
) -> OpIdentity:
    """Find the identity of an op.

    Parameters
    ----------
    name
        The registered name.
    function
        What runs.
    version
        Declared by the author; then edits of the code change nothing.
    requires
        Names of distributions whose version matters. None: those that the op's own code imports;
        an empty sequence: none; otherwise those imported and those named. Of an op with a declared
        version or in an installed distribution, only those named.

    Raises
    ------
    CodeIdentityError
        If the code reaches something that cannot be expressed, and no version is declared.
    StaleCodeError
        If the running code is not the code on disk, and no version is declared.
    RegistrationError
        If a required distribution is not installed.
    """
    from invariant_dask.ops.fingerprint import distribution_of, fingerprint

    named = None if requires is None else _installed(name, requires)
    reference = reference_of(function)
    # Only what can be found again by its name is told apart by it: closures, bound methods and
    # partials of an installed function share its name and still differ.
    home = None if reference is None else distribution_of(function)
    if version is not None:
        code = None if home is not None else _fingerprint_if_possible(function, name)
        return OpIdentity(name, "version", version, named or {}, code)
    if home is not None:
        value = f"{_normalised(home[0])}=={home[1]}:{reference}"
        return OpIdentity(name, "installed", value, named or {})
    code = fingerprint(function, name=name)
    if requires is not None and not named:
        return OpIdentity(name, "code", code.digest, {}, code)
    found = {_normalised(dist): at for dist, at in code.distributions.items()}
    found.pop(OWN_DISTRIBUTION, None)
    return OpIdentity(name, "code", code.digest, {**found, **(named or {})}, code)


def reference_of(function: Callable[..., Any]) -> str | None:
    """Return `module:qualname` if that is where `function` is found, else None.

    None for what another process cannot import: `__main__`, local functions, lambdas, partials,
    bound methods, and functions that were replaced under their name.
    """
    module, qualname = (
        getattr(function, "__module__", None),
        getattr(function, "__qualname__", None),
    )
    if not isinstance(module, str) or not isinstance(qualname, str) or module in _MAIN_MODULES:
        return None
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return f"{module}:{qualname}" if found is function else None


def same_origin(old: Any, new: Any) -> bool:
    """Return whether `new` is `old`, or its definition made again by a reload or a notebook."""
    if old is new:
        return True
    if type(old) is not type(new) or not isinstance(new, (FunctionType, type)):
        return False
    if (old.__module__, old.__qualname__) != (new.__module__, new.__qualname__):
        return False
    if "<" not in new.__qualname__:
        return True
    # Two lambdas, or two closures made by one function, share a qualified name and are not a
    # redefinition of each other unless they are the very same code and close over nothing.
    return (
        isinstance(new, FunctionType)
        and old.__code__ == new.__code__
        and not old.__closure__
        and not new.__closure__
        and (old.__defaults__, old.__kwdefaults__) == (new.__defaults__, new.__kwdefaults__)
    )


def _fingerprint_if_possible(function: Callable[..., Any], name: str) -> Fingerprint | None:
    from invariant_dask.ops.fingerprint import fingerprint

    try:
        return fingerprint(function, name=name)
    except (CodeIdentityError, StaleCodeError):
        # The author vouches for the version; without a fingerprint only drift goes unseen.
        return None


def _installed(op: str, names: Iterable[str]) -> dict[str, str]:
    from importlib import metadata  # slow to import, and rarely needed

    found = {}
    for name in names:
        try:
            found[_normalised(name)] = metadata.version(name)
        except metadata.PackageNotFoundError:
            msg = (
                f"op {op!r} requires {name!r}, which is not installed; install it, or give the "
                "name of its distribution, which may differ from the module's (pillow for PIL)"
            )
            raise RegistrationError(msg) from None
    found.pop(OWN_DISTRIBUTION, None)
    return found


def _normalised(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()
