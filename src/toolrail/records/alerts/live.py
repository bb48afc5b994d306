"""Alerts without a file: error rates of this process alone, judged at each settled call, told to the log."""

from __future__ import annotations

from toolrail.codes import CODES, AlertClass
from toolrail.events import CallSettled, Event
from toolrail.records.alerts.mathematics import Judge, Watch

TOOLS = 1_000
"""So many tools are watched."""
RULES: dict[AlertClass, tuple[str, str]] = {
    "argument": ("wrong-arguments", "warning"),
    "dependency": ("dependency-fails", "critical"),
    "bug": ("tool-bug", "critical"),
}
"""The default rule of each class, and its severity."""


class _Tool:
    __slots__ = ("calls", "watches")

    def __init__(self) -> None:
        self.calls = 0
        self.watches: dict[AlertClass, Watch] = {}
        """By class; one is made with its first error."""


class AlertSink:
    """A sink that warns when a tool's error rate is over the threshold, and says when it is back: the default rules
    `wrong-arguments`, `dependency-fails` and `tool-bug`, in the logger `toolrail.alerts`.

    It knows only the calls of its own process, and forgets with it. A call costs 0.2 us while nothing fails. A rail
    without a record has one by default; the `Alerts` of a `Recorder` see all processes.

    Args:
        judge: the threshold and the mathematics.
        silence: tools that it says nothing of.

    Example: `Rail(tools, sinks=[Metrics(), LogSink(), AlertSink(Judge(over=0.10))])`
    """

    ends_only = True

    def __init__(self, judge: Judge | None = None, *, silence: frozenset[str] = frozenset()) -> None:
        self._judge = judge or Judge()
        self._silence = silence
        self._tools: dict[str, _Tool] = {}

    @property
    def firing(self) -> tuple[tuple[str, str], ...]:
        """What fires: rule and tool."""
        return tuple(
            (RULES[name][0], tool)
            for tool, seen in self._tools.items()
            for name, watch in seen.watches.items()
            if watch.firing
        )

    def emit(self, event: Event) -> None:
        """See `Sink`."""
        if not isinstance(event, CallSettled):
            return
        call = event.call
        tool = self._tools.get(call.tool)
        if tool is None:
            # Without a digest it is no tool of ours: the model has made its name up.
            if not call.digest or len(self._tools) >= TOOLS or call.tool in self._silence:
                return
            tool = self._tools[call.tool] = _Tool()
        tool.calls += 1
        if event.code is not None or tool.watches:
            self._judged(tool, event)

    def _judged(self, tool: _Tool, event: CallSettled) -> None:
        kind = CODES[event.code].alert if event.code is not None else "none"
        if kind in RULES and kind not in tool.watches:
            tool.watches[kind] = Watch(self._judge)
        for name, watch in tool.watches.items():
            if watch.add(tool.calls, event=name == kind):
                self._say(name, event, firing=watch.firing)

    def _say(self, kind: AlertClass, event: CallSettled, *, firing: bool) -> None:
        # Only now: a process in which nothing fails does not load it.
        from toolrail.records.alerts.telling import Change, LogTeller

        rule, severity = RULES[kind]
        wall = event.head.wall
        how = "fails too often" if firing else "fails no more than it may"
        text = f"{how} in this process (limit {self._judge.over:.0%} of its calls)"
        state = "firing" if firing else "clear"
        LogTeller().tell(Change("", wall, rule, event.call.tool, state, severity, None, text, wall))
