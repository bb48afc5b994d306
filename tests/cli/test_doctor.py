"""`toolrail doctor` finds what is wrong with an installation or a deployment, says the mend, and no secret."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Command
from tests.cli.recorded import Seen
from toolrail.cli.checks.installation import fits
from toolrail.cli.places import command as typed
from toolrail.cli.places import masked, without


def _found(command: Command, *words: str) -> dict[str, dict[str, Any]]:
    done = command("doctor", "--json", *words)
    return {one["check"]: one for one in json.loads(done.out)}


def test_a_sound_deployment_has_no_failure_and_what_waits_is_said(command: Command, seen: Seen) -> None:
    done = command("doctor", *seen.options)
    assert (done.code, done.err) == (0, "")
    found = _found(command, *seen.options)
    assert {"python", "toolrail", "pydantic", "extra cli", "sqlite", "log", "store", "store disk", "record"} <= set(
        found
    )
    assert found["unknown outcomes"]["level"] == "warn"
    assert "1 call with an unknown outcome" in found["unknown outcomes"]["text"]
    assert "toolrail effects list" in found["unknown outcomes"]["mend"]
    assert found["prices"]["text"] == "1 response without a price, of unpriced"
    assert found["store file"]["text"].endswith("WAL")
    assert found["losses"]["level"] == found["circuits"]["level"] == "ok"
    assert found["alerts"]["level"] == "warn"  # its writer is gone, so nobody would see one
    assert found["alerts"]["text"].startswith("No process ")
    assert all(one["mend"] for one in found.values() if one["level"] != "ok")


def test_a_store_that_cannot_be_read_fails_with_its_mend(command: Command, tmp_path: Path) -> None:
    done = command("doctor", "--store", str(tmp_path / "none.db"))
    assert done.code == 1
    assert "fail  store: " in done.out
    assert "there is no such file." in done.out
    assert "warn  record: " in done.out


def test_with_a_record_alone_a_store_that_nobody_named_is_no_failure(
    command: Command, tmp_path: Path, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TOOLRAIL_STORE", raising=False)
    done = command("doctor", "--records", str(seen.records))
    assert (done.code, done.err) == (0, "")
    assert "none was named, so none is looked at" in _found(command, "--records", str(seen.records))["store"]["text"]
    assert command("doctor").code == 1


def test_a_damaged_record_fails(command: Command, tmp_path: Path, seen: Seen) -> None:
    path = tmp_path / "records.db"
    path.write_text("no database, but a text that is long enough to be taken for one, were it not for its beginning")
    assert command("doctor", *seen.options, "--records", str(path)).code == 1
    assert _found(command, *seen.options, "--records", str(path))["record"]["level"] == "fail"


SECRET = "s3cr%40t"


@pytest.mark.parametrize("name", ["doctor", "list", "tail", "show", "tools"])
def test_no_password_of_a_url_is_printed(command: Command, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    url = f"postgresql://rail:{SECRET}@127.0.0.1:9/rail"
    words = (name, "run_1") if name == "show" else (name,)
    for given in (("--store", url), ()):
        monkeypatch.setenv("TOOLRAIL_STORE", url)
        done = command(*words, *given)
        assert done.code == 1
        assert SECRET not in done.out + done.err
        assert "s3cr@t" not in done.out + done.err


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://u:p@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u:p@q@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u:p/q@h/d", "postgresql://u:***@h/d"),
        ("postgresql://h/d?user=u&password=p", "postgresql://h/d?user=u&password=***"),
        ("sqlite:///rail.db", "sqlite:///rail.db"),
    ],
)
def test_passwords_are_masked(text: str, shown: str) -> None:
    assert masked(text) == shown
    assert "p@" not in typed("list", text)


def test_a_password_is_masked_wherever_a_driver_quotes_it() -> None:
    said = without("password authentication failed for s3cr@t", f"postgresql://u:{SECRET}@h/d")
    assert said == "password authentication failed for ***"


@pytest.mark.parametrize(
    ("have", "bounds", "fit"),
    [
        ("2.14.3", "<3,>=2.12", True),
        ("2.9", ">=2.12,<3", False),
        ("3.0.0", "<3,>=2.12", False),
        ("3.0", ">=3.0.0", True),
        ("1.2.3rc1", ">=1.2.3", True),
        ("1.0", "", True),
    ],
)
def test_versions_are_compared_by_their_numbers(have: str, bounds: str, fit: bool) -> None:
    assert fits(have, bounds) is fit
