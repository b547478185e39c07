"""A scene for tests that look back at a task: a turn with everything in it, and the people who answer."""

from __future__ import annotations

from pydantic_ai import ModelRetry

from tenuto.agents.function import FunctionAgent, task_agent
from tenuto.agents.llm.agent import Agent
from tenuto.agents.llm.current import current_context
from tenuto.agents.llm.tools import deferred, tool
from tenuto.client import Client
from tenuto.stores.base import Store
from tenuto.tasks.states import State
from tenuto.tasks.task import Task
from tests.integration.llm.rig import Scripted, ask, call
from tests.integration.workers.rig import ended, until, waits

__all__ = ["Office"]


class Office:
    """A clerk whose first turn calls a child, a person, two approvals, a tool that asks for another try, and one that
    nobody has; what ran is noted."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.script = Scripted(
            [
                call("delegate", "c1"),
                call("ask_lawyer", "c2", question="may I?"),
                call("delete", "c3", path="a"),
                call("delete", "c4", path="b"),
                call("wrong", "c5"),
                call("fly", "c6"),
            ],
            "done",
        )
        tools = [
            self.delegate,
            deferred(self.ask_lawyer),
            tool(requires_approval=True)(self.delete),
            self.wrong,
        ]
        self.agent = Agent("clerk", "Serve.", self.script.model, tools)
        self.child: FunctionAgent[[str], str] = task_agent(name="child")(self._child)

    async def waiting(self, store: Store) -> str:
        """A new task, as soon as it waits for people; its id."""
        task_id = await ask(store, self.agent)
        await until(store, task_id, lambda task: waits(task) and task.wait is not None and task.wait.people)
        return task_id

    async def answered(self, store: Store, task_id: str) -> Task:
        """That task when it has ended, after people have answered its calls."""
        client = Client(store)
        await client.complete_deferred_tool(task_id, "c2", {"allowed": True})
        await client.approve(task_id, "c3")
        await client.reject(task_id, "c4", "keep it")
        task = await ended(store, task_id)
        assert task.state is State.DONE, task.error
        return task

    def _child(self, payload: str) -> str:
        self.ran.append("child")
        return "from the child"

    async def delegate(self) -> str:
        """Has something done."""
        self.ran.append("delegate")
        context = current_context()
        await context.step("note", lambda: self.ran.append("step"))
        child = await context.spawn(self.child.create_task(payload="x"))
        return str((await context.wait_for(child))[0].result)

    def ask_lawyer(self, question: str) -> None:
        """Asks."""
        self.ran.append("asked")

    def delete(self, path: str) -> str:
        """Deletes."""
        self.ran.append(f"deleted {path}")
        return f"{path} is gone"

    def wrong(self) -> str:
        """Goes wrong."""
        self.ran.append("wrong")
        raise ModelRetry("not like this")
