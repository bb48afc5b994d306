"""The types of tools, rails, runs and agents. A line that says `ignore` must be an error, or the check fails."""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, assert_type

from toolrail import (
    Agent,
    Principal,
    Rail,
    Run,
    RunContext,
    Tool,
    ToolCall,
    ToolResult,
    Toolset,
    combined,
    filtered,
    prefixed,
    tool,
)
from toolrail.agent import AgentResult
from toolrail.approvers import Console, deferred
from toolrail.decisions import Ask
from toolrail.effects import Later
from toolrail.store import ApprovalRow


class Shop:
    """What some handlers need."""

    name: str = "shop"


class BigShop(Shop):
    """More than they need."""


@tool
def plain(number: int) -> int:
    return number


@tool(effect="read", timeout=2.0)
async def plain_async(number: int) -> int:
    return number


@tool
async def with_shop(ctx: RunContext[Shop], customer: str) -> str:
    return assert_type(ctx.deps, Shop).name + customer


@tool(effect="read", requires="orders:read")
def with_options(ctx: RunContext[Shop], customer: str) -> str:
    return assert_type(ctx.principal, Principal).id + customer


class Desk:
    """A holder of tools."""

    @tool(effect="read")
    def find(self, ctx: RunContext[Shop], order: str) -> str:
        return ctx.deps.name + order


assert_type(plain, Tool[object])
assert_type(plain_async, Tool[object])
assert_type(with_shop, Tool[Shop])
assert_type(with_options, Tool[Shop])
assert_type(Desk().find, Tool[Shop])

free = Rail([plain, plain_async])
bound = Rail([plain, with_shop], store="memory://")
assert_type(free, Rail[object])
assert_type(bound, Rail[Shop])
assert_type(combined([plain], [with_shop]), Toolset[Shop])
assert_type(prefixed("shop_", [with_shop]), Toolset[Shop])
assert_type(filtered(lambda known: known.effect.kind == "read", [with_shop, with_options]), Toolset[Shop])


async def batches(calls: Sequence[ToolCall]) -> None:
    assert_type(await free.batch(calls), list[ToolResult])


async def runs(messages: list[dict[str, Any]], user: Principal) -> None:
    async with free.run(messages) as run:
        assert_type(run, Run[None])
    async with bound.run(messages, principal=user, deps=Shop()) as run:
        assert_type(run, Run[Shop])
        assert_type(await bound.batch([], run), list[ToolResult])
    async with bound.run(messages, deps=BigShop()):
        pass
    async with bound.run(messages):  # pyright: ignore[reportCallIssue]
        pass
    async with bound.run(messages, deps=3):  # pyright: ignore[reportArgumentType]
        pass


async def agents(user: Principal) -> None:
    assert_type(await Agent("openai:gpt-4o", free).run("Hello"), AgentResult)
    agent = Agent("openai:gpt-4o", bound, max_turns=3)
    assert_type(agent, Agent[Shop])
    assert_type(await agent.run("Hello", principal=user, deps=Shop()), AgentResult)
    assert_type(await agent.resume("run_1", principal=user, deps=Shop()), AgentResult)
    assert_type(await Agent("openai:gpt-4o", free).resume("run_1", approvals={"apr_1": True}), AgentResult)
    assert_type(agent.resume_sync("run_1", deps=BigShop()), AgentResult)
    result = await agent.run("Hello", principal=user, deps=Shop())
    await agent.resume(result.run_id, deps=Shop(), approvals={result.pending[0].approval: True}, principal=user)
    assert_type(result.pending[0].approval, str)
    await agent.resume("run_1")  # pyright: ignore[reportCallIssue]
    await agent.resume("run_1", deps=3)  # pyright: ignore[reportArgumentType]
    await agent.resume("run_1", deps=Shop(), approvals={"apr_1": "yes"})  # pyright: ignore[reportArgumentType]
    await agent.run("Hello")  # pyright: ignore[reportCallIssue]
    await agent.run("Hello", deps=3)  # pyright: ignore[reportArgumentType]


async def decisions(user: Principal) -> None:
    for question in await bound.approvals.list(state=None):
        assert_type(question, ApprovalRow)
    assert_type(await bound.approvals.decide("apr_1", approved=True, by=user, arguments={"n": 1}), ApprovalRow)
    await bound.approvals.decide("apr_1", approved=True)  # pyright: ignore[reportCallIssue]
    await bound.approvals.decide("apr_1", approved=True, by="carol")  # pyright: ignore[reportArgumentType]
    assert_type(await bound.settle("token", {"paid": True}), bool)
    await bound.settle("token", error="Refused.")  # pyright: ignore[reportArgumentType]


@tool(effect="once", approve=lambda arguments: Ask("much", needs="pay") if arguments["amount"] > 100 else False)
async def pays_later(amount: int) -> Later:
    return Later(token=str(amount))


Rail([pays_later], approver=deferred)
Rail([pays_later], approver=Console(Principal("carol")))
tool(effect="reed")  # pyright: ignore[reportArgumentType]
tool(tiemout=2.0)  # pyright: ignore[reportCallIssue]
Rail([len])  # pyright: ignore[reportArgumentType]
