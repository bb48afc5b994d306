"""Budgets: what one run has spent of its own limits, and of those that it shares with a session and a principal's day.

Shared counters live in the store, so they hold over all processes that share it. Calls are reserved before a batch, in
the model's order; tokens and money are added with each response. A store that cannot be asked allows nothing.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import ROUND_CEILING, Decimal
from typing import Any, Literal, NamedTuple

from toolrail.codes import Code
from toolrail.events import BudgetNear
from toolrail.limits import Budget
from toolrail.messages import ToolResult
from toolrail.money import NO_PRICES, Price
from toolrail.ports import STORE_SECONDS, log
from toolrail.run import Job, Run
from toolrail.store import Spend, Spent
from toolrail.wording import LEFT, LEFT_ONE, told

NEAR = 0.8
"""From this share on a budget is nearly spent: an event says so, and the model is told what is left."""
HOUR = 3_600
DAY = 24 * HOUR
KEEP = 30
"""Days that the counter of a run without a session is kept."""
FOR_EVER = 3_650
"""Days that the counter of a session is kept."""
BILLION = 10**9
"""Money is counted in whole billionths, rounded up: sums of them are exact."""

Scope = Literal["session", "principal_day"]
WHERE = {"run": "in this run", "session": "in this session", "principal_day": "for this user today"}

UNCOUNTED = {
    "price_unknown": (
        "its money has a limit, and there is no price for {of}. Give Rail(prices={{NAME: Price(...)}}), by the name "
        "under which the responses come, or drop the limit."
    ),
    "price_looked_up": (
        "its money has a limit, and the price of {of} was only looked up in a table of other people's. State it: "
        "`toolrail prices {of} --toml` prints the lines for a file that Rail(prices=...) takes."
    ),
    "price_in": (
        "its money has a budget in another currency than the prices, which are in {of}. State both in one currency: "
        "Budget(currency=...) and Price(currency=...)."
    ),
    "usage_unknown": (
        "its money has a limit, and a response of {of} did not say how many tokens it took, or said what cannot be. "
        "Let the provider include the usage, or drop the limit."
    ),
}
"""Why a run whose money has a limit cannot go on, for the log."""


class Line(NamedTuple):
    """One counter that holds for a run."""

    scope: Scope
    what: str
    """`calls`, `calls of pay`, `tokens`, or a currency."""
    limit: float
    name: str
    """In the store."""
    expires: float
    unit: int
    """What the counter counts in: one, or a billionth."""

    @property
    def label(self) -> str:
        """Its name in the record: `principal_day:calls`."""
        return f"{self.scope}:{self.what}"


class Stopped(NamedTuple):
    """Why no call of a batch may start."""

    code: Code
    interrupt: BaseException | None


class Account:
    """What one run has spent. Made for runs that have a limit or share a budget."""

    __slots__ = ("_near", "_owed", "_run", "_totals", "needs_price")

    def __init__(self, run: Run[Any]) -> None:
        self._run = run
        self._owed: dict[str, float] = {}
        """Tokens and billionths of each currency that the store was not told of yet."""
        self._totals: dict[str, float] = {}
        """The shared counters, as they stood when they were last seen."""
        self._near: set[str] = set()
        """The run's own limits whose near end was recorded."""
        self.needs_price = run.limits.money is not None or any(b.money is not None for _, b in self._budgets())

    # Before a request

    def reached(self) -> str | None:
        """The budget that forbids another model request, as a stop reason. What is not known is taken as spent."""
        limits, state = self._run.limits, self._run.state
        if self.needs_price and (reason := self._unpriced()):
            return reason
        if limits.money is not None and any(Decimal(spent) >= limits.money for spent in state.cost.values()):
            return "limit:money"
        for line in self._metered():
            if self._totals.get(line.name, 0.0) >= line.limit:
                self._run.remark(f"budget:{line.label}")
                return "limit:tokens" if line.what == "tokens" else "limit:money"
        return None

    def _unpriced(self) -> str | None:
        """Nothing may be spent on a model whose price nobody stated, where money has a limit."""
        run = self._run
        if run.model:
            note = self._uncertain(run.model, run.prices.price(run.model, run.ports.clock.wall()))
        else:  # the response will say whose price it is
            note = "price_unknown" if run.prices is NO_PRICES else None
        if note is None:
            return None
        self._cannot_count(note)
        return "limit:money"

    def _uncertain(self, model: str, price: Price | None) -> str | None:
        """Why money cannot be counted at such a price; None when it can."""
        if price is None:
            return f"price_unknown:{model}"
        if not price.stated:
            return f"price_looked_up:{model}"
        return f"price_in:{price.currency}" if self._foreign(price.currency) else None

    def _cannot_count(self, note: str) -> None:
        """The run ends, before its first request perhaps: whoever set the limit reads why."""
        what, _, of = note.partition(":")
        self._run.remark(note)
        log.warning("Run %s ends: %s", self._run.id, UNCOUNTED[what].format(of=of or "the model"))

    def _foreign(self, currency: str) -> bool:
        return any(b.money is not None and b.currency != currency for _, b in self._budgets())

    async def open(self) -> None:
        """Looks at the shared counters before the first request."""
        await self.settle()

    # After a response

    def charge(self, tokens: int, price: Price | None, cost: Decimal | None, *, model: str) -> bool:
        """Counts a response; False when that is not possible: money has a limit, and price or usage are not known."""
        run = self._run
        self._owe("tokens", tokens)
        if price is not None and cost is not None:
            self._owe(price.currency, billionths(cost))
        if not self.needs_price:
            return True
        note = self._uncertain(model, price) or (None if cost is not None else f"usage_unknown:{model}")
        if note is None:
            return True
        self._cannot_count(note)
        run.stop("limit:money")
        return False

    def _owe(self, what: str, amount: float) -> None:
        self._owed[what] = self._owed.get(what, 0) + amount

    async def settle(self) -> None:
        """Tells the store what is owed, and looks at the shared counters. A run whose store does not answer ends.

        Raises:
            asyncio.CancelledError: interrupted; the store was told all the same.
        """
        if self._run.ports.budgets is None or not any(self._metered()):
            return
        try:
            _, interrupt = await self._exchange(())
        except Exception:
            log.exception("The store could not be asked for the budgets of run %s.", self._run.id)
            self._run.remark("budget_unavailable")
            self._run.stop("store_unavailable")
            return
        if interrupt is not None:
            raise interrupt

    # Before a batch

    async def reserve(self, jobs: Sequence[Job]) -> Stopped | None:
        """Takes what the calls need of each shared budget, in one transaction with what the response has cost. Calls
        that do not fit are marked as over their limit, in the model's order; what they held elsewhere is given back."""
        if self._run.ports.budgets is None:
            return None
        needs = [tuple(self._counted(job.call.name)) for job in jobs]
        amounts = Counter(line for lines in needs for line in lines)
        if not amounts and not (self._owed and any(self._metered())):
            return None
        try:
            spent, interrupt = await self._exchange([self._spend(line, n, line.limit) for line, n in amounts.items()])
        except Exception:
            log.exception("The store could not be asked for the budgets of run %s; nothing was started.", self._run.id)
            return Stopped(Code.STORE_UNAVAILABLE, None)
        granted = {line: int(one.granted) for line, one in zip(amounts, spent, strict=False)}
        left = dict(granted)
        if interrupt is None:
            _share_out(jobs, needs, left)
            interrupt = await self._give_back(left)
            granted = {line: amount - left[line] for line, amount in granted.items()}
        if interrupt is not None:  # none of them will run
            self._run.ports.own(self._apply(granted))
            return Stopped(Code.CANCELLED, interrupt)
        for line, one in zip(amounts, spent, strict=True):
            self._see(line, one, given_back=left[line])
        return None

    async def _give_back(self, left: Mapping[Line, int]) -> BaseException | None:
        """Before the calls start, so that whoever asks next finds what is free; answers what interrupted it."""
        if not any(left.values()):
            return None
        work = self._run.ports.own(self._apply(left))
        try:
            await asyncio.wait([work], timeout=STORE_SECONDS)
        except asyncio.CancelledError as cancelled:
            return cancelled
        return None

    async def _apply(self, back: Mapping[Line, int]) -> None:
        ops = [self._spend(line, -amount, None) for line, amount in back.items() if amount]
        try:
            await self._run.ports.store.apply(*ops)
        except Exception:
            log.warning("A reservation of run %s could not be given back.", self._run.id, exc_info=True)

    async def _exchange(self, ops: Sequence[Spend]) -> tuple[list[Spent], BaseException | None]:
        """These, and what is owed, in one transaction. A cancellation does not stop it; it is answered beside."""
        ports, owed, interrupt = self._run.ports, self._owed, None
        lines = list(self._metered())
        metering = [self._spend(line, owed.get(line.what, 0), None) for line in lines]
        self._owed = {}
        work = ports.own(ports.store.apply(*ops, *metering))
        try:
            async with asyncio.timeout(STORE_SECONDS):
                await asyncio.shield(work)
        except asyncio.CancelledError as cancelled:
            interrupt = cancelled
            await asyncio.wait([work], timeout=STORE_SECONDS)
        except Exception:
            self._owe_again(owed)
            raise
        if not work.done() or work.cancelled() or work.exception() is not None:
            self._owe_again(owed)
            return [], interrupt
        answers: list[Spent] = work.result()
        for line, one in zip(lines, answers[len(ops) :], strict=True):
            self._see(line, one)
        return answers[: len(ops)], interrupt

    def _owe_again(self, owed: Mapping[str, float]) -> None:
        """A store that was not heard of may have counted all the same: rather twice than never."""
        for what, amount in owed.items():
            self._owe(what, amount)

    # What is left

    def tell(self, results: list[ToolResult]) -> list[ToolResult]:
        """The results, with words for the model on the last one about what is nearly spent."""
        refused = results[-1].code is Code.LIMIT_REACHED
        tools = dict.fromkeys(result.name for result in results)
        said = [text for left, text in (*self._own(tools), *self._shared(tools)) if left > 0 or not refused]
        if not said:
            return results
        return [*results[:-1], replace(results[-1], content=told(results[-1].content, " ".join(said), key="note"))]

    def _own(self, tools: Iterable[str]) -> Iterator[tuple[float, str]]:
        """What is nearly spent of the run's own limits: how much is left, and the words for it."""
        for what, used, limit in self._limits(tools):
            left, label = max(0.0, limit - used), f"run:{what}"
            if used < NEAR * limit:
                continue
            if label not in self._near:
                self._near.add(label)
                self._run.emit(lambda head, label=label, left=left: BudgetNear(head, label, left))
            yield left, _words(what, left, limit, WHERE["run"])

    def _limits(self, tools: Iterable[str]) -> Iterator[tuple[str, float, float]]:
        limits, state = self._run.limits, self._run.state
        if limits.calls is not None:
            yield "calls", state.calls, limits.calls
        if limits.calls_per_tool is not None:
            for tool in tools:
                yield f"calls of {tool}", state.calls_per_tool.get(tool, 0), limits.calls_per_tool
        if limits.tokens is not None:
            yield "tokens", state.usage.total_tokens, limits.tokens
        if limits.money is not None:
            for currency, spent in state.cost.items():
                yield currency, float(spent), float(limits.money)
        if limits.seconds is not None:
            yield "seconds", self._run.elapsed, limits.seconds

    def _shared(self, tools: Iterable[str]) -> Iterator[tuple[float, str]]:
        for line in dict.fromkeys([*self._metered(), *(line for tool in tools for line in self._counted(tool))]):
            total = self._totals.get(line.name, 0.0)
            if total >= NEAR * line.limit:
                left = max(0.0, line.limit - total) / line.unit
                yield left, _words(line.what, left, line.limit / line.unit, WHERE[line.scope])

    def _see(self, line: Line, spent: Spent, *, given_back: float = 0.0) -> None:
        total = spent.total - given_back
        self._totals[line.name] = total
        if spent.total - spent.granted < NEAR * line.limit <= total:
            left = max(0.0, line.limit - total) / line.unit
            self._run.emit(lambda head: BudgetNear(head, line.label, left))

    # The shared counters

    def _counted(self, tool: str) -> Iterator[Line]:
        """Those that one call takes one from. Only of a tool that exists there is a counter."""
        for scope, budget in self._budgets():
            if budget.calls is not None:
                yield self._line(scope, "calls", budget.calls)
            of_tool = budget.calls_of(tool)
            if of_tool is not None and tool in self._run.offered:
                yield self._line(scope, f"calls of {tool}", of_tool)

    def _metered(self) -> Iterator[Line]:
        """Those that a response takes from."""
        for scope, budget in self._budgets():
            if budget.tokens is not None:
                yield self._line(scope, "tokens", budget.tokens)
            if budget.money is not None:
                yield self._line(scope, budget.currency, billionths(budget.money), unit=BILLION)

    def _budgets(self) -> Iterator[tuple[Scope, Budget]]:
        shared = self._run.ports.budgets
        if shared is not None and shared.session is not None:
            yield "session", shared.session
        if shared is not None and shared.principal_day is not None:
            yield "principal_day", shared.principal_day

    def _line(self, scope: Scope, what: str, limit: float, *, unit: int = 1) -> Line:
        run = self._run
        today = int(run.ports.clock.wall() // DAY)
        if scope == "principal_day":
            who, last = [run.principal.id, today], today
        else:
            session = run.state.session
            who, last = [session or run.id], today + (KEEP if session is None else FOR_EVER)
        expires = (last + 1) * DAY + HOUR
        return Line(scope, what, limit, json.dumps([f"budget:{scope}", what, *who]), expires, unit)

    def _spend(self, line: Line, amount: float, limit: float | None) -> Spend:
        run = self._run
        now = run.ports.clock.wall()
        return Spend(run.state.tenant, line.name, float(amount), limit, now, line.expires)


def account_of(run: Run[Any]) -> Account | None:
    """The account of a run that has something to count; most have not, and then nothing is done for it."""
    limits = run.limits
    own = (limits.calls, limits.calls_per_tool, limits.tokens, limits.money, limits.seconds)
    return None if run.ports.budgets is None and own == (None, None, None, None, None) else Account(run)


def billionths(money: Decimal) -> int:
    """An amount of money as a whole number, rounded up."""
    return int((money * BILLION).to_integral_value(ROUND_CEILING))


def _share_out(jobs: Sequence[Job], needs: Sequence[tuple[Line, ...]], left: dict[Line, int]) -> None:
    """Gives each call, in order, one of everything that it needs, or marks it and gives it nothing."""
    for job, lines in zip(jobs, needs, strict=True):
        short = next((line for line in lines if left[line] < 1), None)
        if short is not None:
            job.over = f"{short.limit:g} {short.what} {WHERE[short.scope]}"
            continue
        for line in lines:
            left[line] -= 1


def _words(what: str, left: float, limit: float, where: str) -> str:
    said = LEFT_ONE if left == 1 else LEFT
    return said.format(left=_number(left), limit=_number(limit), what=what, where=where)


def _number(value: float) -> str:
    return f"{value:.4f}".rstrip("0").rstrip(".")
