"""An order as a goal: check, then reserve and charge side by side, then ship; refund when shipping fails.

    python examples/order_pipeline.py              # all goes well
    python examples/order_pipeline.py --no-van     # shipping fails, and the money goes back

Kill it at any moment and start it again: the goal is submitted once (its idempotency key is the order), what was done
is not done again, and the charge, which must never happen twice, is a step of its own.
"""

from __future__ import annotations

import asyncio
import sys

import tenuto


@tenuto.task_agent
def check(order: dict) -> float:
    """What the order costs."""
    return sum(item["price"] * item["count"] for item in order["items"])


@tenuto.task_agent
def reserve(order: dict) -> list[str]:
    """Puts the items aside in the warehouse."""
    return [f"shelf {number}: {item['name']}" for number, item in enumerate(order["items"], 1)]


def pay(customer: str, amount: float) -> str:
    """Where a payment provider would be called."""
    return f"{customer} paid {amount:.2f}"


@tenuto.task_agent
async def charge(ctx: tenuto.Context, order: dict) -> str:
    """Takes the money, once: a step that is recorded never runs again."""
    amount = await ctx.result_of("check")
    return await ctx.step("pay", pay, order["customer"], amount, effect="once")


@tenuto.task_agent(max_retries=0)
def ship(order: dict) -> str:
    """Hands the parcel over."""
    if not order["van"]:
        raise RuntimeError("there is no van today")
    return f"on its way to {order['customer']}"


@tenuto.task_agent
def refund(order: dict) -> str:
    """Gives the money back."""
    return f"refunded {order['customer']}"


def pipeline(order: dict) -> tenuto.GoalBuilder:
    """The goal for one order."""
    goal = tenuto.goal(f"Order {order['number']}", idempotency_key=f"order-{order['number']}")
    checked = goal.add(check.create_task(payload=order), id="check")
    reserved = goal.add(reserve.create_task(payload=order), id="reserve", after=checked)
    charged = goal.add(charge.create_task(payload=order), id="charge", after=checked)
    shipped = goal.add(ship.create_task(payload=order), id="ship", after=[reserved, charged])
    goal.add(refund.create_task(payload=order), id="refund", after=shipped, when="failed")
    return goal


async def main() -> None:
    """Submits one order, works on it, and shows how each of its tasks ended."""
    van = "--no-van" not in sys.argv
    items = [{"name": "metronome", "price": 30.0, "count": 1}, {"name": "strings", "price": 12.5, "count": 2}]
    order = {"number": 1001 if van else 1002, "customer": "Ada", "van": van, "items": items}
    async with tenuto.Orchestrator() as orchestrator:
        orchestrator.register_runner([check, reserve, charge, ship, refund])
        goal_id = await orchestrator.submit_goal(pipeline(order))
        results = await orchestrator.get_task_result(goal_id, timeout=60)
        for node in (await orchestrator.get_goal(goal_id)).nodes:
            print(f"{node.node:8} {node.state:10} {results.get(node.node, node.reason)}")


if __name__ == "__main__":
    asyncio.run(main())
