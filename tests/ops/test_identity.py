"""What stands for an op in a digest: a version, an installed distribution, or its code."""

from __future__ import annotations

import functools
import json
import pickle
import threading
from importlib import metadata

import cbor2
import packaging.utils
import pytest

from invariant_dask.errors import CodeIdentityError, RegistrationError
from invariant_dask.ops.identity import OpIdentity, identify, reference_of, same_origin
from invariant_dask.ops.registry import OpRegistry


def plain(x):
    return x + 1


def uses_packaging(x):
    return packaging.utils.canonicalize_name(x)


class Opaque:
    __slots__ = ("handle",)

    def __reduce__(self):
        raise TypeError("no")


OPAQUE = Opaque()
OPAQUE.handle = threading.Lock()  # neither a value nor code


def reaches_opaque(x):
    return OPAQUE.handle(x)


def test_code_identifies_an_op_of_ones_own():
    identity = identify("t:plain", plain)
    assert identity.kind == "code"
    assert identity.value == identity.code.digest
    assert len(bytes.fromhex(identity.value)) == 32
    assert identity.requires == {}


def test_a_declared_version_wins_and_the_code_is_still_known():
    identity = identify("t:plain", plain, version="7")
    assert (identity.kind, identity.value) == ("version", "7")
    assert identity.code.digest == identify("t:plain", plain).value


def test_code_that_cannot_be_expressed_is_tolerated_under_a_version_only():
    with pytest.raises(CodeIdentityError):
        identify("t:opaque", reaches_opaque)
    identity = identify("t:opaque", reaches_opaque, version="1")
    assert identity.value == "1"
    assert identity.code is None


def test_an_op_of_an_installed_distribution_is_identified_by_it():
    identity = identify("t:name", packaging.utils.canonicalize_name)
    version = metadata.version("packaging")
    assert identity.kind == "installed"
    assert identity.value == f"packaging=={version}:packaging.utils:canonicalize_name"
    assert identity.code is None


def test_what_cannot_be_found_by_its_name_is_not_identified_by_it():
    bound = functools.partial(packaging.utils.canonicalize_name, validate=True)
    other = functools.partial(packaging.utils.canonicalize_name, validate=False)
    first, second = identify("t:p", bound), identify("t:p", other)
    assert first.kind == second.kind == "code"
    assert first.value != second.value


# --- required distributions ----------------------------------------------------------------------


def test_imported_distributions_enter_with_their_version():
    assert identify("t:u", uses_packaging).requires == {"packaging": metadata.version("packaging")}


def test_an_empty_requires_opts_out():
    assert identify("t:u", uses_packaging, requires=()).requires == {}


def test_named_distributions_enter_too_under_one_spelling():
    identity = identify("t:u", uses_packaging, requires=("PyTest",))
    assert identity.requires == {
        "packaging": metadata.version("packaging"),
        "pytest": metadata.version("pytest"),
    }


def test_with_a_version_only_named_distributions_enter():
    assert identify("t:u", uses_packaging, version="1").requires == {}
    named = identify("t:u", uses_packaging, version="1", requires=["pytest"]).requires
    assert named == {"pytest": metadata.version("pytest")}


def test_a_required_distribution_must_be_installed():
    with pytest.raises(RegistrationError, match="'no-such-thing', which is not installed"):
        identify("t:u", plain, requires=("no-such-thing",))


def test_this_package_never_enters():
    assert identify("t:u", plain, version="1", requires=("invariant_dask",)).requires == {}


# --- the encoded form ----------------------------------------------------------------------------


def test_the_encoded_form_is_canonical_cbor_that_others_can_read():
    identity = OpIdentity("t:f", "version", "1", {"zz": "1", "a": "2"})
    assert cbor2.loads(identity.encode()) == ["t:f", "version", "1", {"a": "2", "zz": "1"}]
    assert identity.encode() == cbor2.dumps(
        ["t:f", "version", "1", {"zz": "1", "a": "2"}], canonical=True
    )


def test_long_names_stay_readable():
    name = "x" * 200
    assert cbor2.loads(OpIdentity(name, "code", "0" * 64).encode())[0] == name


def test_each_part_changes_the_encoded_form_and_equality():
    base = OpIdentity("t:f", "version", "1", {"a": "1"})
    others = [
        OpIdentity("t:g", "version", "1", {"a": "1"}),
        OpIdentity("t:f", "code", "1", {"a": "1"}),
        OpIdentity("t:f", "version", "2", {"a": "1"}),
        OpIdentity("t:f", "version", "1", {"a": "2"}),
        OpIdentity("t:f", "version", "1", {}),
    ]
    assert len({i.encode() for i in [base, *others]}) == 6
    assert all(other != base for other in others)


def test_identities_can_be_pickled_and_be_keys():
    identity = identify("t:u", json.dumps, version="1", requires=("packaging",))
    assert pickle.loads(pickle.dumps(identity)) == identity
    assert hash(identity) == hash(pickle.loads(pickle.dumps(identity)))


def test_an_op_recomputes_its_identity_when_asked():
    op = OpRegistry(stdlib=False).register("t:plain", plain)
    assert op.identity() == identify("t:plain", plain)


# --- where a function is found -------------------------------------------------------------------


def test_only_what_its_name_leads_to_has_a_reference():
    assert reference_of(plain) == f"{__name__}:plain"
    assert reference_of(Opaque.__reduce__) == f"{__name__}:Opaque.__reduce__"
    assert reference_of(lambda x: x) is None
    assert reference_of(functools.partial(plain)) is None
    assert reference_of("text".upper) is None

    def replaced(x):
        return x

    replaced.__qualname__ = "plain"
    assert reference_of(replaced) is None
    replaced.__module__ = "__main__"
    assert reference_of(replaced) is None


def test_a_definition_made_again_is_recognised():
    source = "def f(x):\n    return x + {}\n"
    first, second = {"__name__": "cell"}, {"__name__": "cell"}
    exec(source.format(1), first)
    exec(source.format(2), second)
    assert same_origin(first["f"], second["f"])
    assert not same_origin(first["f"], plain)
    assert not same_origin(first["f"], functools.partial(first["f"]))
