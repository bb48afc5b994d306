"""Keeps the account of the promises: a test that passed proves what it marks, a skipped one proves nothing."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests import proofs


class Account:
    """Enters what this session's tests prove into the file of the account."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.passed: proofs.Passed = {}
        self.failed: set[str] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        ids = sorted({id for mark in item.iter_markers("promise") for id in mark.args})
        if ids and report.passed and report.when == "call" and not hasattr(report, "wasxfail"):
            self.passed[item.nodeid] = ids
        elif ids and not report.passed:
            self.passed.pop(item.nodeid, None)
            self.failed.add(item.nodeid)
        return report

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.passed or self.failed:
            terminalreporter.write_line(proofs.summary(proofs.save(self.path, self.passed, failed=self.failed)))


def pytest_configure(config: pytest.Config) -> None:
    # No test asserts on the wall clock; Hypothesis does so of its own accord, unless it is told.
    settings.register_profile("toolrail", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("toolrail")
    config.pluginmanager.register(Account(proofs.ACCOUNT), "promises")
