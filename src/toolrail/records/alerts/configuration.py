"""What a user says of alerts: which rules hold, who is told, how often to look."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from toolrail.errors import DefinitionError
from toolrail.frozen import frozen
from toolrail.records.alerts.loading import load_rules
from toolrail.records.alerts.rules import Rule, check_rules, defaults
from toolrail.records.alerts.telling import LogTeller, Teller, Webhook
from toolrail.settings import flags, positive


@frozen
class Alerts:
    """Which alerts there are, and who is told of them. All processes that share the telemetry should say the same.

    Raises:
        DefinitionError: a rule, the file of rules or the webhook is wrong (TR310), or another setting (TR301).

    Example: `Recorder("sqlite:///rail.records.db", alerts=Alerts(webhook="https://alerts.example/toolrail"))`
    """

    rules: Sequence[Rule] | str | Path | None = None
    """These and no others; or a TOML file (see `load_rules`). None: `defaults()`. See also `over_defaults`."""
    webhook: str | Webhook | None = None
    """Where changes are posted as JSON: a URL, or a `Webhook` with a secret and headers."""
    tellers: Sequence[Teller] = ()
    """Further ones, of your own."""
    log: bool = True
    """Whether the logger `toolrail.alerts` is told."""
    every: float = 15.0
    """Seconds between two looks."""

    def __post_init__(self) -> None:
        rules = self.rules
        if isinstance(rules, str | Path):
            rules = load_rules(rules)
        checked = defaults() if rules is None else check_rules(tuple(rules))
        hook = Webhook(self.webhook) if isinstance(self.webhook, str) else self.webhook
        flags("Alerts", log=self.log)
        positive("Alerts", must=True, every=self.every)
        object.__setattr__(self, "rules", checked)
        object.__setattr__(self, "webhook", hook)
        names = [teller.name for teller in self.to_tell]
        for name in names:
            if names.count(name) > 1:
                mend = "Give each a name of its own: the record says by it who was told."
                raise DefinitionError("TR310", f"Alerts(tellers={name!r})", "two tellers have this name.", mend)

    @property
    def holding(self) -> tuple[Rule, ...]:
        """The rules that hold."""
        return cast("tuple[Rule, ...]", self.rules)

    @property
    def to_tell(self) -> tuple[Teller, ...]:
        """Who is told."""
        hook = (cast("Webhook", self.webhook),) if self.webhook is not None else ()
        return (*((LogTeller(),) if self.log else ()), *hook, *self.tellers)
