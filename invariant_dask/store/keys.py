"""Signing keys and trusted keys (Ed25519): how they are made, written down and found.

A key is one line of text, as Nix has it: `name:base64`. The base64 of a public key has 32 bytes,
that of a private one 64 (the seed and the public key), so neither can be taken for the other.
A private key is read from this process's environment when something is signed, and never leaves
it: it cannot be pickled, and neither its repr nor any message shows it.

`cryptography` is imported only when something is signed or checked.
"""

from __future__ import annotations

import base64
import binascii
import logging
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from invariant_dask.errors import TrustError

SIGNING_VARIABLE = "INVARIANT_SIGNING_KEY"
"""The environment variable with this process's private key: the path of its file, or its text."""

TRUSTED_VARIABLE = "INVARIANT_TRUSTED_KEYS"
"""The environment variable with further public keys that are trusted, separated by spaces."""

KEY_SIZE = 32
_PRIVATE_SIZE = 64
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")
_KEY_TEXT = re.compile(r"[^:/\\\s]+:[A-Za-z0-9+/=]+")
_FILE_LIMIT = 4096

logger = logging.getLogger("invariant_dask.store")


class PublicKey(NamedTuple):
    """A public key with the name that its owner gave it; the name proves nothing."""

    name: str
    raw: bytes

    def __str__(self) -> str:
        return f"{self.name}:{base64.b64encode(self.raw).decode()}"

    @classmethod
    def parse(cls, text: str) -> PublicKey:
        """Return the key that is written `name:base64`.

        Raises
        ------
        TrustError
            If it is anything else.
        """
        name, raw = _parse(text, "a public key")
        if len(raw) == _PRIVATE_SIZE:
            # Not shown: it is a secret.
            raise TrustError("that is a private key; the public one is what keygen printed")
        if len(raw) != KEY_SIZE:
            _refuse("a public key", f"it has {len(raw)} bytes and not {KEY_SIZE}")
        if is_weak(raw):
            _refuse("a public key", f"{name!r} is a point for which anybody can make signatures")
        return cls(name, raw)


_P = 2**255 - 19
# The y of the eight points of small order; each may also be written with _P added to it.
_Y8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
_WEAK = frozenset({0, 1, _P - 1, _Y8, _P - _Y8})


def is_weak(raw: bytes) -> bool:
    """Return whether a public key is a point of small order: no private key has it."""
    y = int.from_bytes(raw, "little") & (2**255 - 1)
    return y % _P in _WEAK


class SigningKey:
    """A private key; it signs and shows its public half, and goes nowhere else."""

    __slots__ = ("_key", "public")

    def __init__(self, name: str, seed: bytes) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = PublicKey(name, self._key.public_key().public_bytes_raw())

    def __repr__(self) -> str:
        return f"SigningKey({self.public.name!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a private key does not travel; each process takes its own")

    def sign(self, statement: bytes) -> bytes:
        """Return the public key and the signature of a statement."""
        return self.public.raw + self._key.sign(statement)

    def secret_text(self) -> str:
        """Return the key as its file has it: to be kept, not shown."""
        whole = self._key.private_bytes_raw() + self.public.raw
        return f"{self.public.name}:{base64.b64encode(whole).decode()}"

    @classmethod
    def parse(cls, text: str) -> SigningKey:
        """Return the key that is written `name:base64`.

        Raises
        ------
        TrustError
            If it is anything else; the text is not in the message.
        """
        name, raw = _parse(text, "a private key")
        if len(raw) == KEY_SIZE:
            _refuse("a private key", "it is a public one; use the file that keygen wrote")
        if len(raw) != _PRIVATE_SIZE:
            _refuse("a private key", f"it has {len(raw)} bytes and not {_PRIVATE_SIZE}")
        key = cls(name, raw[:KEY_SIZE])
        if key.public.raw != raw[KEY_SIZE:]:
            _refuse("a private key", "its two halves do not belong together")
        return key


def is_valid_signature(signature: bytes, statement: bytes) -> bool:
    """Return whether the key in a signature block made it for this statement."""
    from cryptography.exceptions import InvalidSignature

    try:
        _verifier(signature[:KEY_SIZE]).verify(signature[KEY_SIZE:], statement)
    except (InvalidSignature, ValueError):
        return False
    return True


@lru_cache(maxsize=64)
def _verifier(raw: bytes) -> Any:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    return Ed25519PublicKey.from_public_bytes(raw)


# --- this process's private key ---


def signing_key() -> SigningKey | None:
    """Return the private key that the environment names, or None.

    Raises
    ------
    TrustError
        If it names none that can be used.
    """
    named = os.environ.get(SIGNING_VARIABLE)
    return _signing_key(named) if named else None


@lru_cache(maxsize=8)
def _signing_key(named: str) -> SigningKey:
    if _KEY_TEXT.fullmatch(named.strip()):
        with _from(SIGNING_VARIABLE):
            return SigningKey.parse(named)
    path = Path(named).expanduser()
    try:
        with path.open(encoding="ascii") as file:
            text = file.read(_FILE_LIMIT)
            open_to_all = os.fstat(file.fileno()).st_mode & 0o077
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        # Not shown if it may be a key that was cut off.
        shown = f" {path}" if _is_shown(named, path) else ""
        msg = f"{SIGNING_VARIABLE} names no readable key file{shown} ({why}); see "
        msg += "invariant-dask keygen"
        raise TrustError(msg) from None
    if open_to_all:
        logger.warning("others can read the private key %s: chmod 600 it", path)
    with _from(f"{SIGNING_VARIABLE}, file {path}"):
        return SigningKey.parse(text)


def _is_shown(text: str, path: Path) -> bool:
    """Whether text is a path for certain, and no key, whole or cut off."""
    if ":" in text:
        return False
    # Base64 has none of these, and names no folders that are there.
    return bool(re.search(r"[._~-]", text)) or (len(path.parent.parts) > 1 and path.parent.is_dir())


@contextmanager
def _from(place: str) -> Iterator[None]:
    """Say where a key is from that cannot be used."""
    try:
        yield
    except TrustError as error:
        raise TrustError(f"{place}: {error}") from None


def keygen(name: str, path: Path) -> SigningKey:
    """Make a private key and write it to a new file that only this user can read.

    Raises
    ------
    TrustError
        If the name is not usable, or the file exists or cannot be written.
    """
    if not _NAME.fullmatch(name):
        _refuse("a key's name", f"{name!r}: use letters, digits and . _ @ + -")
    key = SigningKey(name, os.urandom(KEY_SIZE))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "w", encoding="ascii") as file:
            file.write(key.secret_text() + "\n")
    except FileExistsError:
        msg = f"{path} exists and is left alone; name another file"
        raise TrustError(msg) from None
    except OSError as error:
        raise TrustError(f"{path} cannot be written: {error.strerror}") from error
    return key


# --- the keys that this user trusts ---


def config_folder() -> Path:
    """Return the folder with this user's settings."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base, "invariant-dask")


def trusted_file() -> Path:
    """Return the file with the keys that this user trusts, one a line."""
    return config_folder() / "trusted-keys"


def keys_in_file() -> list[PublicKey]:
    """Return the keys of the user's file of trusted keys.

    Raises
    ------
    TrustError
        If it cannot be read, or a line is no key.
    """
    path = trusted_file()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise TrustError(f"{path} cannot be read: {error}") from error
    keys = []
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if text:
            with _from(f"{path}, line {number}"):
                keys.append(PublicKey.parse(text))
    return keys


def write_keys(keys: Iterable[PublicKey]) -> None:
    """Replace the user's file of trusted keys; it is whole at any moment.

    Raises
    ------
    TrustError
        If it cannot be written.
    """
    path = trusted_file()
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text("".join(f"{key}\n" for key in keys), encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise TrustError(f"{path} cannot be written: {error}") from error


def keys_in_environment() -> list[PublicKey]:
    """Return the trusted keys that the environment names."""
    with _from(TRUSTED_VARIABLE):
        return parse_keys(os.environ.get(TRUSTED_VARIABLE, ""))


def parse_keys(given: str | Sequence[str | PublicKey]) -> list[PublicKey]:
    """Return keys given as such or as text, several in one text separated by spaces or commas.

    Raises
    ------
    TrustError
        If any is no public key.
    """
    parts: list[Any] = re.split(r"[\s,]+", given) if isinstance(given, str) else list(given)
    return [
        each if isinstance(each, PublicKey) else PublicKey.parse(each) for each in parts if each
    ]


def _parse(text: object, what: str) -> tuple[str, bytes]:
    if not isinstance(text, str):
        _refuse(what, f"it is a {type(text).__name__}")
    name, colon, encoded = text.strip().partition(":")
    if not colon or not _NAME.fullmatch(name):
        _refuse(what, "expected name:base64")
    try:
        return name, base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        _refuse(what, f"what follows {name!r} is not base64")


def _refuse(what: str, why: str) -> NoReturn:
    raise TrustError(f"not {what}: {why}")
