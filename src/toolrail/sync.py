"""The rail for synchronous code: the same rail, on one background loop. Nothing is written twice."""

from __future__ import annotations

from collections.abc import Coroutine, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from toolrail.background import BACKGROUND
from toolrail.decisions import ANONYMOUS, Principal
from toolrail.limits import RunLimits
from toolrail.messages import ToolCall, ToolResult
from toolrail.rail import Rail
from toolrail.run import Run
from toolrail.store import ApprovalRow, ApprovalState

if TYPE_CHECKING:
    from toolrail.errors import ToolError
    from toolrail.health import Health
    from toolrail.reconcile import Hook, PrincipalFor, Reconciled

D_contra = TypeVar("D_contra", contravariant=True)
T = TypeVar("T")


class SyncRail(Generic[D_contra]):
    """A rail that blocks. Its tools, async ones too, run on toolrail's background loop.

    Example:

        rail = SyncRail(Rail([find_invoice, pay]))
        with rail.run(messages, principal=user, deps=shop) as run:
            while run.open:
                response = client.chat.completions.create(model="gpt-4o", messages=messages, **options(run))
                rail.wait(answer(run, response))
    """

    def __init__(self, rail: Rail[D_contra]) -> None:
        self.rail = rail

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs anything of toolrail's that is awaited, such as `answer(run, response)`."""
        return BACKGROUND.run(work, lending=self.rail.ports.pool.lend())

    def batch(self, calls: Sequence[ToolCall], run: Run[Any] | None = None) -> list[ToolResult]:
        """`Rail.batch`, blocking."""
        return self.wait(self.rail.batch(calls, run))

    @overload
    def run(
        self: SyncRail[object],
        messages: list[Any],
        *,
        deps: None = None,
        principal: Principal = ANONYMOUS,
        limits: RunLimits | None = None,
        run_id: str | None = None,
    ) -> AbstractContextManager[Run[None]]: ...
    @overload
    def run(
        self,
        messages: list[Any],
        *,
        deps: D_contra,
        principal: Principal = ANONYMOUS,
        limits: RunLimits | None = None,
        run_id: str | None = None,
    ) -> AbstractContextManager[Run[D_contra]]: ...
    @contextmanager
    def run(
        self,
        messages: list[Any],
        *,
        deps: Any = None,
        principal: Principal = ANONYMOUS,
        limits: RunLimits | None = None,
        run_id: str | None = None,
    ) -> Generator[Run[Any]]:
        """`Rail.run`, blocking."""
        rail: Rail[Any] = self.rail
        held = rail.run(messages, principal=principal, deps=deps, limits=limits, run_id=run_id)
        run = self.wait(_enter(held))
        try:
            with self.rail.ports.within(run):
                yield run
        except BaseException as error:
            self.wait(_leave(held, error))
            raise
        else:
            self.wait(_leave(held, None))

    @property
    def approvals(self) -> SyncApprovals:
        """`Rail.approvals`, blocking."""
        return SyncApprovals(self)

    def settle(
        self, call: str, value: Any = None, *, error: ToolError | None = None, tenant: str | None = None
    ) -> bool:
        """`Rail.settle`, blocking."""
        return self.wait(self.rail.settle(call, value, error=error, tenant=tenant))

    def reconcile(
        self,
        hook: Hook | None = None,
        *,
        deps: Any = None,
        principal_for: PrincipalFor | None = None,
        limit: int = 100,
        timeout: float = 30.0,
    ) -> Reconciled:
        """`Rail.reconcile`, blocking. A hook, too, runs on toolrail's background loop."""
        found = self.rail.reconcile(hook, deps=deps, principal_for=principal_for, limit=limit, timeout=timeout)
        return self.wait(found)

    def health(self) -> Health:
        """`Rail.health`."""
        return self.rail.health()

    def close(self) -> None:
        """Drains the rail and closes its store."""
        self.wait(_leave(self.rail, None))


class SyncApprovals:
    """`Approvals`, blocking: `rail.approvals` of a `SyncRail`.

    Example:

        for question in rail.approvals.list():
            rail.approvals.decide(question.approval, approved=True, by=Principal("carol"))
    """

    def __init__(self, rail: SyncRail[Any]) -> None:
        self._rail = rail

    def list(
        self,
        *,
        tenant: str | None = None,
        run: str | None = None,
        state: ApprovalState | None = "pending",
        limit: int = 100,
    ) -> tuple[ApprovalRow, ...]:
        """`Approvals.list`, blocking."""
        rail = self._rail
        return rail.wait(rail.rail.approvals.list(tenant=tenant, run=run, state=state, limit=limit))

    def decide(
        self,
        approval: str,
        *,
        approved: bool,
        by: Principal,
        note: str = "",
        message: str | None = None,
        arguments: Mapping[str, Any] | None = None,
    ) -> ApprovalRow:
        """`Approvals.decide`, blocking."""
        asked = self._rail.rail.approvals
        work = asked.decide(approval, approved=approved, by=by, note=note, message=message, arguments=arguments)
        return self._rail.wait(work)


async def _enter(held: Any) -> Any:
    return await held.__aenter__()


async def _leave(held: Any, error: BaseException | None) -> None:
    if error is None:
        await held.__aexit__(None, None, None)
        return
    try:
        await held.__aexit__(type(error), error, error.__traceback__)
    except BaseException as raised:
        if raised is not error:
            raise
