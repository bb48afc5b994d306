"""No promise without a test, no test of an unknown promise; the account counts only what passed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import proofs
from tests.conftest import Account
from tests.promises import PROMISES, Promise


def test_every_id_is_given_once() -> None:
    ids = [known.id for known in PROMISES]
    assert sorted(set(ids)) == sorted(ids)


def test_every_held_promise_and_part_is_named_by_a_test() -> None:
    named = {mark.id for mark in proofs.marks()}
    assert sorted(proofs.WANTED - named) == []


def test_every_test_names_known_promises() -> None:
    unknown = [f"{mark.place} {mark.id}" for mark in proofs.marks() if mark.id not in proofs.KNOWN]
    assert unknown == []


def test_a_mark_that_cannot_be_read_from_the_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("ids = ()\n@promise(*ids)\ndef test_it() -> None: ...\n")
    with pytest.raises(ValueError, match=r"test_it\.py:2: write"):
        proofs.marks(tmp_path)


PARTED = Promise("own", "a:b", "...", parts={"now": "held", "later": "deferred"})
WHOLE = Promise("own", "a:b", "...", parts={"later": "deferred"})
LATER = Promise("own", "a:b", "...", parts={"now": "held"}, status="deferred")


@pytest.mark.parametrize(
    ("given", "wanted"),
    [(PARTED, {"a:b/now"}), (WHOLE, {"a:b"}), (LATER, set[str]())],
    ids=["a held part", "only deferred parts", "a deferred promise"],
)
def test_a_promise_wants_proof_of_what_is_held(given: Promise, wanted: set[str]) -> None:
    assert given.wanted() == wanted


def test_a_test_that_no_longer_passes_proves_nothing(tmp_path: Path) -> None:
    account = tmp_path / "account.json"
    proofs.save(account, {"one": ["call:total"], "two": ["call:json"]}, failed=set())
    proofs.save(account, {"three": ["call:sync"]}, failed={"two"})
    assert proofs.load(account) == {"one": ["call:total"], "three": ["call:sync"]}


def test_what_no_passed_test_proves_is_listed() -> None:
    everything = {f"test of {known}": [known] for known in proofs.WANTED if known != "call:total"}
    assert proofs.unproved(everything) == ["call:total"]
    assert "not proved by a test that passed: 1 of" in proofs.summary(everything)
    assert proofs.summary({"all": list(proofs.WANTED)}).endswith("all held ones proved by a test that passed")


OUTCOMES = """
import pytest
from tests.promises import promise

@promise("call:total")
def test_passes(): ...

@promise("call:json")
@pytest.mark.skip
def test_is_skipped(): ...

@promise("call:sync")
def test_fails(): assert False

@promise("call:order")
@pytest.mark.xfail
def test_fails_as_expected(): assert False

@promise("call:retry")
def test_cannot_clean_up(request): request.addfinalizer(lambda: 1 / 0)

@pytest.mark.parametrize("row", [1, pytest.param(2, marks=promise("call:size", "call:encode"))])
def test_has_rows(row): ...
"""


def test_only_a_passed_test_is_entered(pytester: pytest.Pytester) -> None:
    account = pytester.path / "account.json"
    pytester.makepyfile(OUTCOMES)
    result = pytester.runpytest_inprocess(plugins=[Account(account)])
    result.assert_outcomes(passed=4, failed=1, errors=1, skipped=1, xfailed=1)
    assert {id for ids in proofs.load(account).values() for id in ids} == {"call:total", "call:size", "call:encode"}
