"""Each tier of a chain judges by its own terms, and copies keep the signatures they came with."""

from __future__ import annotations

import json
import logging
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from invariant_dask.core.digest import PlannedDigest
from invariant_dask.core.encode import Encoded, encode
from invariant_dask.errors import ArtifactLostError, SpecError, StoreUnavailableError, TrustError
from invariant_dask.store import (
    About,
    ChainStore,
    DiskStore,
    MemoryStore,
    Record,
    Store,
    Tier,
    open_store,
)
from invariant_dask.store.keys import SigningKey
from invariant_dask.store.trust import Terms, parse_trust
from invariant_dask.testing import (
    CountingStore,
    FlakyStore,
    SlowStore,
    damage_entry,
    sample_manifest,
    sample_planned,
)

BIG = b"x" * 40_000
KEY = SigningKey("ci", os.urandom(32))
OTHER = SigningKey("other", os.urandom(32))
SIGNED = Terms(parse_trust([KEY.public]))


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch, tmp_path: Path) -> None:
    for name in ("INVARIANT_SIGNING_KEY", "INVARIANT_TRUSTED_KEYS", "INVARIANT_TRUST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def signing(monkeypatch):
    """A function that makes this process sign with a key, or stop."""

    def sign(key: SigningKey | None = KEY) -> None:
        text = "" if key is None else key.secret_text()
        monkeypatch.setenv("INVARIANT_SIGNING_KEY", text)

    return sign


def publish(store: Store, name: str, value: object) -> tuple[PlannedDigest, Record]:
    planned = sample_planned(name)
    record = store.publish(
        encode(value), sample_manifest(name=name), kind="any", about=About("sample:op"),
        planned=planned,
    )  # fmt: skip
    return planned, record


def near(tmp_path: Path, terms: Terms = SIGNED) -> DiskStore:
    return DiskStore(tmp_path / "near", terms=terms)


def far(tmp_path: Path, terms: Terms = SIGNED) -> DiskStore:
    return DiskStore(tmp_path / "far", terms=terms)


@pytest.mark.parametrize("value", [[1], BIG])
def test_copies_keep_the_bytes_and_so_the_signature(tmp_path, signing, value) -> None:
    signing()
    planned, record = publish(far(tmp_path), "a", value)
    signing(None)
    chain = ChainStore(near(tmp_path), far(tmp_path))
    assert chain.lookup([planned])[planned].vouched
    assert chain.get(planned) == value
    for digest in (planned, record.resolved):
        assert near(tmp_path)._read_entries([digest]) == far(tmp_path)._read_entries([digest])
    assert near(tmp_path).get(planned) == value


def test_a_tier_that_is_not_believed_does_not_hide_one_that_is(tmp_path, signing) -> None:
    planned, record = publish(DiskStore(tmp_path / "near"), "a", [1])
    signing()
    publish(far(tmp_path), "a", [1])
    signing(None)
    chain = ChainStore(near(tmp_path), far(tmp_path))
    assert chain.lookup([planned, record.resolved]).keys() == {planned, record.resolved}
    assert chain.stats.untrusted == 2
    assert near(tmp_path).exists(planned), "what nobody signed was replaced"


def test_each_tier_is_judged_by_its_own_policy(tmp_path) -> None:
    mine, _ = publish(DiskStore(tmp_path / "near"), "mine", [1])
    theirs, _ = publish(DiskStore(tmp_path / "far"), "theirs", [2])
    chain = ChainStore(DiskStore(tmp_path / "near"), far(tmp_path))
    assert chain.lookup([mine, theirs]).keys() == {mine}
    assert chain.why(theirs) == f"untrusted: it is not signed [{tmp_path / 'far'}]"
    assert chain.why(mine) == ""


def test_claim_and_record_are_believed_in_whichever_tier_they_are(tmp_path, signing) -> None:
    signing()
    planned, record = publish(far(tmp_path), "a", [1])
    signing(OTHER)
    believes_other = Terms(parse_trust([OTHER.public]))
    near(tmp_path, believes_other).claim(planned, record, [])
    far(tmp_path)._delete_entries([planned])
    signing(None)
    chain = ChainStore(near(tmp_path, believes_other), far(tmp_path))
    assert chain.lookup([planned])[planned].vouched
    wrong = ChainStore(near(tmp_path), far(tmp_path))
    assert wrong.lookup([planned]) == {}
    assert wrong.why(planned).startswith("untrusted: it is signed by ")


def test_entries_of_two_tiers_are_vouched_for_by_whom_both_believe(tmp_path, signing) -> None:
    signing()
    planned, record = publish(far(tmp_path), "a", [1])
    plain = DiskStore(tmp_path / "near")
    plain.claim(planned, record, [], vouched=False)
    far(tmp_path)._delete_entries([planned])
    chain = ChainStore(plain, far(tmp_path))
    found = chain.lookup([planned, record.resolved])
    assert [found[digest].vouched for digest in (planned, record.resolved)] == [False, True]


def test_nothing_is_copied_to_a_tier_that_would_not_believe_it(tmp_path) -> None:
    small, _ = publish(DiskStore(tmp_path / "far"), "small", [1])
    large, _ = publish(DiskStore(tmp_path / "far"), "large", BIG)
    chain = ChainStore(near(tmp_path), DiskStore(tmp_path / "far"))
    assert (chain.get(small), chain.get(large)) == ([1], BIG)
    assert DiskStore(tmp_path / "near").lookup([small, large]) == {}
    assert not list((tmp_path / "near" / "blobs").rglob("??/*"))
    assert chain.tiers[0].promoted == 0


def test_a_chain_signs_what_it_publishes_in_all_tiers(tmp_path, signing) -> None:
    signing()
    planned, _ = publish(ChainStore(MemoryStore(), near(tmp_path), far(tmp_path)), "a", [1])
    signing(None)
    assert near(tmp_path).lookup([planned])[planned].vouched
    assert far(tmp_path).lookup([planned])[planned].vouched


def test_what_is_not_vouched_for_is_not_signed_by_a_chain(tmp_path, signing) -> None:
    signing()
    chain = CountingStore(ChainStore(near(tmp_path), far(tmp_path)))
    record = chain.publish(
        encode([1]), sample_manifest(), kind="any", about=About("sample:op"), vouched=False
    )
    chain.claim(sample_planned("a"), record, [], vouched=False)
    assert record.signature == b""
    assert chain.stats.unsigned == 1
    assert chain.lookup([sample_planned("a"), record.resolved]) == {}


@pytest.mark.parametrize("wrapped", [False, True])
def test_what_this_process_made_itself_is_taken_by_all_tiers(tmp_path, wrapped) -> None:
    chain = ChainStore(near(tmp_path), far(tmp_path))
    planned, _ = publish(SlowStore(chain, seconds=0) if wrapped else chain, "a", BIG)
    assert chain.get(planned) == BIG
    assert chain.barrier() == ()
    for tier in chain.stores:
        assert tier.get(planned) == BIG
    assert not far(tmp_path).exists(planned), "another process would not"


def test_what_was_read_unsigned_is_not_vouched_for_through_a_chain(tmp_path, signing) -> None:
    plain = DiskStore(tmp_path / "far")
    planned, _ = publish(plain, "a", [1])
    signing()
    signed, _ = publish(plain, "b", [1])
    chain = ChainStore(MemoryStore(), DiskStore(tmp_path / "far"))
    found = chain.lookup([planned, signed])
    assert [found[digest].vouched for digest in (planned, signed)] == [False, True]
    # The same when it is nearer by now.
    found = chain.lookup([planned, signed])
    assert [found[digest].vouched for digest in (planned, signed)] == [False, True]


@pytest.mark.parametrize("wrapped", [False, True])
def test_why_joins_the_reasons_of_the_tiers_until_it_is_found(tmp_path, wrapped) -> None:
    disks = DiskStore(tmp_path / "near"), DiskStore(tmp_path / "far")
    planned, record = publish(ChainStore(*disks), "a", [1])
    damage_entry(disks[0], record.resolved)
    judging = ChainStore(disks[0], far(tmp_path))
    chain = SlowStore(judging, seconds=0) if wrapped else judging
    assert not chain.exists(record.resolved)
    assert chain.why(record.resolved) == (
        f"damaged: its checksum does not hold [{tmp_path / 'near'}]; "
        f"untrusted: it is not signed [{tmp_path / 'far'}]"
    )
    publish(chain, "a", [1])
    assert chain.exists(record.resolved)
    assert chain.why(record.resolved) == ""
    assert chain.why(planned) == ""


def test_the_loss_that_a_run_notes_is_told_until_it_is_found_again(tmp_path) -> None:
    chain = ChainStore(MemoryStore(), DiskStore(tmp_path / "far"))
    record = chain.put(sample_manifest(), [1])
    for store in (chain, CountingStore(chain)):
        store.note_loss(record.resolved, "worker went away")
        assert store.why(record.resolved) == "lost: worker went away"
        store.lookup([record.resolved])
        assert store.why(record.resolved) == ""


def test_an_artifact_that_a_tier_does_not_take_is_not_published(tmp_path) -> None:
    small = MemoryStore(terms=Terms(max_artifact_size=1000))
    chain = ChainStore(small, DiskStore(tmp_path / "far"))
    with pytest.raises(StoreUnavailableError, match="max_artifact_size=1000"):
        chain.put(sample_manifest(), BIG)
    record = DiskStore(tmp_path / "far").put(sample_manifest(), BIG)
    assert chain.get(record.resolved) == BIG
    assert not small.exists(record.resolved)


# --- damage ---


def forged(store: Store) -> Record:
    """Publish a record with the bytes of another value."""
    wrong = Encoded(encode([1]).identity, encode([2]).storage, {})
    return store.publish(wrong, sample_manifest(), kind="list", about=About("sample:op"))


@pytest.mark.parametrize("wrapped", [False, True])
def test_what_is_set_aside_has_a_report_in_each_tier(tmp_path, wrapped) -> None:
    chain = ChainStore(*(DiskStore(tmp_path / name) for name in ("near", "far")))
    store = SlowStore(chain, seconds=0) if wrapped else chain
    record = forged(store)
    assert chain.barrier() == ()
    with pytest.raises(ArtifactLostError):
        store.fetch(record)
    for name in ("near", "far"):
        (report,) = (tmp_path / name / "quarantine").glob("*.json")
        assert json.loads(report.read_text())["name"] == record.resolved.hex()


def test_what_is_set_aside_is_not_written_later(tmp_path) -> None:
    far = FlakyStore(DiskStore(tmp_path / "far"))
    chain = ChainStore(DiskStore(tmp_path / "near"), Tier(far, write="behind"))
    far.is_down = True
    record = forged(chain)
    with pytest.raises(ArtifactLostError):
        chain.fetch(record)
    far.is_down = False
    assert chain.barrier() == ()
    assert not chain.exists(record.resolved)


# --- how it is opened ---


def test_a_policy_beside_a_list_is_that_of_all_tiers(tmp_path) -> None:
    items = [tmp_path / "near", {"url": str(tmp_path / "far"), "trust": "any"}, tmp_path / "z"]
    chain = open_store(items, trust=[KEY.public], namespace="team", max_artifact_size="1MB")
    assert isinstance(chain, ChainStore)
    assert [store.terms.trust for store in chain.stores] == [
        SIGNED.trust, parse_trust("any"), SIGNED.trust,
    ]  # fmt: skip
    assert {store.terms.max_artifact_size for store in chain.stores} == {1_000_000}
    assert chain.stores[0].url == str(tmp_path / "near" / "namespaces" / "team")
    assert open_store(items, trust=[KEY.public], namespace="team", max_artifact_size="1MB") is chain
    assert open_store(items) is not chain


def test_options_that_could_be_overlooked_are_refused(tmp_path) -> None:
    with pytest.raises(SpecError, match="trust"):
        open_store([MemoryStore(), tmp_path / "far"], trust=[KEY.public])
    with pytest.raises(SpecError, match="trust"):
        open_store([Tier(MemoryStore())], trust=[KEY.public])
    with pytest.raises(TrustError, match="without keys"):
        open_store([tmp_path / "near"], trust=[])
    with pytest.raises(SpecError, match="trsut"):
        open_store([{"url": str(tmp_path / "near"), "trsut": "signed"}])


def test_the_environment_s_policy_holds_for_all_tiers(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("INVARIANT_TRUST", f"keys={KEY.public}")
    chain = open_store([tmp_path / "near", tmp_path / "far"])
    assert chain.terms == SIGNED
    assert chain.domain == f"{chain.place} ({SIGNED.trust.short})"


def test_chains_of_other_policies_are_other_domains(tmp_path) -> None:
    plain = DiskStore(tmp_path / "near"), DiskStore(tmp_path / "far")
    chains = [
        ChainStore(*plain),
        ChainStore(plain[0], far(tmp_path)),
        ChainStore(near(tmp_path), plain[1]),
        ChainStore(near(tmp_path), far(tmp_path)),
    ]
    assert len({chain.domain for chain in chains}) == 4
    assert chains[0].domain == chains[0].place


def test_references_carry_the_terms_of_each_tier(tmp_path) -> None:
    chain = ChainStore(DiskStore(tmp_path / "near"), SlowStore(far(tmp_path), seconds=0))
    ref = pickle.loads(pickle.dumps(chain.ref()))
    assert ref.terms == chain.terms
    assert [tier.ref.terms for tier in ref.tiers] == [Terms(), SIGNED]


def test_a_folder_of_a_worker_s_own_is_read_on_the_client_s_terms(tmp_path) -> None:
    data = pickle.dumps(ChainStore(near(tmp_path), far(tmp_path)).ref())
    shutil.rmtree(tmp_path / "near")
    script = (
        "import pickle, sys\n"
        "chain = pickle.loads(bytes.fromhex(sys.argv[1])).open()\n"
        "print(*(store.domain for store in chain.stores))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, data.hex()], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [
        str(tmp_path / "near"), f"({SIGNED.trust.short})",
        str(tmp_path / "far"), f"({SIGNED.trust.short})",
    ]  # fmt: skip


# --- tiers that cannot be opened ---


def test_tier_that_cannot_be_opened_is_used_when_it_can(tmp_path, caplog) -> None:
    (tmp_path / "mount").write_text("not there yet")
    where = [tmp_path / "near", {"url": str(tmp_path / "mount" / "far"), "private": False}]
    with caplog.at_level(logging.WARNING):
        chain = open_store(where, trust=[KEY.public])
    assert "cannot be used yet" in caplog.text
    assert isinstance(chain, ChainStore)
    assert open_store(where, trust=[KEY.public]) is chain
    planned, _ = publish(chain, "a", [1])
    assert chain.get(planned) == [1]
    (missed,) = chain.barrier()
    assert str(tmp_path / "mount") in missed.reason
    alone = pickle.loads(pickle.dumps(chain.ref()))
    assert [tier.ref.url for tier in alone.tiers] == [str(tmp_path / "near")]
    (tmp_path / "mount").unlink()
    assert chain.barrier() == ()
    assert DiskStore(tmp_path / "mount" / "far").get(planned) == [1]
    assert chain.stores[1].terms == SIGNED
    both = pickle.loads(pickle.dumps(chain.ref()))
    assert [tier.ref.url for tier in both.tiers] == [store.url for store in chain.stores]
    assert chain.stores[1].get(planned) == [1], "made by this process"


def test_chain_of_nothing_but_tiers_that_cannot_be_opened_is_an_error(tmp_path) -> None:
    (tmp_path / "mount").write_text("not there yet")
    with pytest.raises(StoreUnavailableError, match="mount"):
        open_store([tmp_path / "mount" / "far"])
