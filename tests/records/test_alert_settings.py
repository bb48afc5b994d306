"""Alerts as they are set up: files of rules and what is wrong in them, the webhook, and the command line."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.promises import promise
from tests.records.alerting import DOWN, GOOD, WRONG, Shop, pay
from toolrail import Rail, ToolCall
from toolrail.cli import main
from toolrail.errors import DefinitionError
from toolrail.records.alerts import Alerts, Change, ErrorRate, Spend, Webhook, defaults, load_rules, over_defaults
from toolrail.records.alerts.telling import signature
from toolrail.records.reading import Records
from toolrail.records.recorder import Recorder

CHANGE = Change("id-1", 1.0, "rule", "pay", "firing", "critical", 0.2, "pay: too many", 1.0)
HEAD = '[[rule]]\nname = "payments"\nkind = "error_rate"\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("rules = 1", "FILE, key rules: there is no such key. Mend: Did you mean rule?"),
        ("rule = 1", "FILE, key rule: it is no list of tables. Mend: Begin each rule with [[rule]]."),
        ("defaults = 0", "FILE, key defaults: 0 is neither true nor false. Mend: Write defaults = false."),
        ('silence = "pay"', "FILE, key silence: 'pay' is no list of names."),
        ("[[rule]]", "FILE, rule number 1, key name: a rule needs a name."),
        ('[[rule]]\nname = "a"', "FILE, rule 'a', key kind: None is no kind of rule."),
        (
            '[[rule]]\nname = "a"\nkind = "eror_rate"',
            "key kind: 'eror_rate' is no kind of rule. Mend: Did you mean err",
        ),
        (
            HEAD + "ovr = 0.1",
            "FILE, rule 'payments', key ovr: a rule of kind error_rate has none. Mend: Did you mean o",
        ),
        (HEAD + "over = -0.1", "FILE, rule 'payments', key over: -0.1: over must be over zero. Mend: Give a positive"),
        (HEAD + "over = 5", "FILE, rule 'payments', key over: 5: over must not be over one."),
        (HEAD + 'over = "5 %"', "FILE, rule 'payments', key over: '5 %': over"),
        (HEAD + "over = nan", "FILE, rule 'payments', key over: nan: over"),
        (HEAD + "least = 0", "FILE, rule 'payments', key least: 0: least must be over zero."),
        (HEAD + "least = 100", "FILE, rule 'payments', key least: 100: least is over calls=80."),
        (HEAD + "for_seconds = -1", "FILE, rule 'payments', key for_seconds: -1: for_seconds must not be negative."),
        (HEAD + 'classes = ["args"]', "key classes: ('args',): classes has no such class. Mend: Use some of"),
        (HEAD + 'severity = "loud"', "FILE, rule 'payments', key severity: 'loud': severity is none."),
        (HEAD + "silence = [1]", "FILE, rule 'payments', key silence: [1] is no list of names."),
        (HEAD + 'unless = ["other"]', "FILE, rule 'payments', key unless: 'other' is no rule."),
        (HEAD + HEAD, "FILE, rule 'payments': the name stands twice. Mend: Rename one."),
        ('[[rule]]\nname = "s"\nkind = "spend"', "FILE, rule 's', key over: None: over and factor are both missing."),
        ('[[rule]]\nname = "s"\nkind = "spend"\nover = -1', "FILE, rule 's', key over: -1: over must be over zero."),
        ("a b", "FILE: it is no TOML: "),
    ],
)
def test_a_rule_that_is_wrong_is_named_by_file_rule_and_key(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "alerts.toml"
    path.write_text(text)
    with pytest.raises(DefinitionError) as caught:
        load_rules(path)
    assert str(caught.value).startswith("TR310 ")
    assert says.replace("FILE", str(path)) in str(caught.value)
    assert "Mend: " in str(caught.value)


def test_a_file_that_is_missing_or_no_text_is_an_error_too(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="there is no such file"):
        load_rules(tmp_path / "none.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(DefinitionError, match="it cannot be read"):
        load_rules(tmp_path / "bytes.toml")


def test_a_files_rules_stand_over_the_default_ones_or_alone(tmp_path: Path) -> None:
    path = tmp_path / "alerts.toml"
    rule = '[[rule]]\nname = "slower"\nkind = "slower"\nfactor = 3.0\n[[rule]]\nname = "usd"\nkind = "spend"\nover = 20'
    path.write_text(f'silence = ["old_*"]\n{rule}')
    rules = {rule.name: rule for rule in load_rules(path)}
    assert list(rules) == [*(rule.name for rule in defaults()), "usd"]
    assert {rule.silence for rule in rules.values()} == {("old_*",)}
    assert rules["usd"] == Spend("usd", over=20, silence=("old_*",))
    path.write_text(f"defaults = false\n{rule}")
    assert [rule.name for rule in load_rules(path)] == ["slower", "usd"]
    assert Alerts(rules=path).holding == load_rules(path)
    assert over_defaults([])[0] == ErrorRate("wrong-arguments", classes=("argument",))


@contextmanager
def hook(*statuses: int) -> Generator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    """A webhook on loopback that answers so, the last one for ever; and what it was sent."""
    sent: list[tuple[dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            sent.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(statuses[min(len(sent), len(statuses)) - 1])
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/SECRET-PATH", sent
        finally:
            server.shutdown()
            thread.join()


@promise("see:alerts")
def test_an_alert_reaches_the_log_and_a_real_webhook_signed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with hook(200) as (url, sent):
        shop = Shop(tmp_path, webhook=Webhook(url, secret="s3cret", headers=(("X-Team", "shop"),)))
        shop.calls(*[DOWN] * 30)
        shop.look()
        shop.look()
    ((headers, body),) = sent
    told = json.loads(body)
    assert told["text"] == "pay: 30 of its last 30 calls failed (100.0%, limit 5%): 30 by the dependency"
    assert (told["rule"], told["state"], told["severity"]) == ("dependency-fails", "firing", "critical")
    assert headers["idempotency-key"] == told["id"]
    assert headers["x-team"] == "shop"
    signed = headers["x-toolrail-signature"]
    assert signed == signature("s3cret", body, int(signed[2:].partition(",")[0]))
    (line,) = [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]
    assert line.startswith("alert=dependency-fails subject=pay state=firing severity=critical value=1 pay: 30 of")


@promise("see:alerts")
def test_a_rail_with_a_recorder_looks_by_itself_and_tells_before_it_ends(tmp_path: Path) -> None:
    async def through_a_rail(record: Recorder) -> None:
        async with Rail([pay], records=record) as rail:
            for number in range(30):
                await rail.batch([ToolCall(f"c{number}", "pay", WRONG)])

    with hook(200) as (url, sent):
        place = f"sqlite:///{tmp_path / 'rail.records.db'}"
        asyncio.run(through_a_rail(Recorder(place, alerts=Alerts(webhook=url))))
        assert [json.loads(body)["rule"] for _, body in sent] == ["wrong-arguments"]
    with Records(place) as records:
        assert [line.rule for line in records.alerts()] == ["wrong-arguments"]


@promise("see:alerts")
def test_a_webhook_that_fails_is_tried_at_the_next_rounds(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with hook(500, 302, 200) as (url, sent):
        shop = Shop(tmp_path, webhook=url)
        shop.calls(*[DOWN] * 30)
        for _ in range(5):
            shop.look()
    assert len(sent) == 3
    assert len({headers["idempotency-key"] for headers, _ in sent}) == 1
    assert "answers 500" in caplog.text
    assert "answers 302" in caplog.text
    assert "SECRET" not in caplog.text


def test_no_text_and_no_repr_has_the_webhooks_url() -> None:
    webhook = Webhook("http://user:PASSWORD@127.0.0.1:9/SECRET?key=SECRET", secret="SECRET")
    said = f"{webhook!r} {Alerts(webhook=webhook)!r} {webhook.tell(CHANGE)}"
    assert "cannot be reached" in said
    assert "SECRET" not in said
    assert "PASSWORD" not in said


@pytest.mark.parametrize("url", ["", "ftp://host/x", "hooks.example/x", "http://", "http://ho st/", "http://h:99999/"])
def test_a_webhook_without_an_address_is_no_webhook(url: str) -> None:
    with pytest.raises(DefinitionError, match="TR310"):
        Alerts(webhook=url)


def test_a_header_that_would_forge_another_is_refused() -> None:
    with pytest.raises(DefinitionError, match="cannot be sent"):
        Webhook("http://host/", headers=(("X-A", "a\r\nX-B: b"),))


# The command line.


@promise("see:alerts")
def test_the_command_shows_what_fires_and_fails_for_scripts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shop = Shop(tmp_path)
    shop.clock.time = time.time() - 1.0
    shop.look()
    assert main(["alerts", "--records", shop.url, "--fail"]) == 0
    assert "No alert fires." in capsys.readouterr().out
    shop.calls(*[DOWN] * 30)
    shop.look()
    assert main(["alerts", "--records", shop.url]) == 0
    said = capsys.readouterr().out
    assert "dependency-fails" in said
    assert "30 by the dependency" in said
    assert main(["alerts", "--records", shop.url, "--fail", "--json"]) == 1
    shown = json.loads(capsys.readouterr().out)
    assert [line["rule"] for line in shown["firing"]] == ["dependency-fails"]
    assert shown["log"][0]["told"] == ["log", "heard"]


@promise("see:alerts")
def test_that_nobody_looks_is_said_and_is_no_good_news_for_scripts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = Shop(tmp_path)
    shop.clock.time = time.time() - 3_600.0
    shop.calls(GOOD)
    assert main(["alerts", "--records", shop.url, "--fail"]) == 1
    assert "No process has looked at alerts yet: nothing is evaluated." in capsys.readouterr().out
    shop.look()
    assert main(["alerts", "--records", shop.url]) == 0
    said = capsys.readouterr().out
    assert "No process looks at alerts since " in said
    assert "No alert fires." not in said
    assert main(["alerts", "--records", shop.url, "--fail", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["evaluated"] is False


@promise("see:alerts")
def test_alerts_test_tells_everyone_and_says_what_came_of_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TOOLRAIL_ALERTS_WEBHOOK", raising=False)
    with hook(200, 403) as (url, sent):
        assert main(["alerts", "test", "--webhook", url]) == 0
        assert "webhook: told" in capsys.readouterr().out
        assert main(["alerts", "test", "--webhook", url]) == 1
        said = capsys.readouterr().out
    assert json.loads(sent[0][1])["state"] == "test"
    assert "answers 403" in said
    assert "SECRET" not in said
    assert main(["alerts", "test"]) == 0
    assert "There is no webhook" in capsys.readouterr().out


def test_alerts_rules_and_check_show_and_judge_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "alerts.toml"
    path.write_text(HEAD + "over = 0.02")
    assert main(["alerts", "check", "--rules", str(path)]) == 0
    assert capsys.readouterr().out == "12 rules, all of them right.\n"
    assert main(["alerts", "rules", "--rules", str(path)]) == 0
    assert "payments (error_rate, warning)" in capsys.readouterr().out
    path.write_text(HEAD + "over = 2")
    assert main(["alerts", "check", "--rules", str(path)]) == 1
    assert "key over: 2: over must not be over one" in capsys.readouterr().err
    assert main(["alerts", "rules", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == len(defaults())
