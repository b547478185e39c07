"""LangGraph with its SQLite or PostgreSQL checkpointer: a graph of two nodes, the model and the tool, as it teaches.

It checkpoints after each node, before the next one begins (`durability="sync"`), which is its only setting that does
not lose a node that has run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from bench.agents.script import Clock, note, values
from bench.places import Place, path_of
from bench.plan import Size, Subject

__all__ = ["SUBJECT"]


def turns(place: Place, size: Size) -> Mapping[str, float]:
    clock = Clock(size.turns)
    url = place.new("turns")
    asyncio.run(_run(url, clock))
    return values(clock, place.disk(url))


def _graph(clock: Clock) -> Any:
    from langchain_core.messages import AIMessage, ToolMessage
    from langgraph.graph import START, MessagesState, StateGraph

    def model(_: Any) -> Any:
        turn = clock.tick()
        if turn == clock.turns - 1:
            return {"messages": [AIMessage("done")]}
        call = {"name": "note", "args": {"number": 1000 + turn}, "id": f"call-{turn:04}", "type": "tool_call"}
        return {"messages": [AIMessage("", tool_calls=[call])]}

    def tool(state: Any) -> Any:
        last: Any = state["messages"][-1]
        return {"messages": [ToolMessage(note(**call["args"]), tool_call_id=call["id"]) for call in last.tool_calls]}

    def after(state: Any) -> str:
        last: Any = state["messages"][-1]
        return "tool" if last.tool_calls else "__end__"

    graph = StateGraph(MessagesState)
    graph.add_node("model", model)
    graph.add_node("tool", tool)
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", after, ["tool", "__end__"])
    graph.add_edge("tool", "model")
    return graph


async def _run(url: str, clock: Clock) -> None:
    if url.startswith("sqlite"):
        from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver as Saver

        opened: Any = Saver.from_conn_string(str(path_of(url)))
    else:
        from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

        opened = AsyncPostgresSaver.from_conn_string(url)
    async with opened as saver:
        await saver.setup()
        graph = _graph(clock).compile(checkpointer=saver)
        config = {"configurable": {"thread_id": "1"}, "recursion_limit": 2 * clock.turns + 10}
        said = {"messages": [{"role": "user", "content": "begin"}]}
        state = await graph.ainvoke(said, config, durability="sync")
    assert state["messages"][-1].content == "done"


SUBJECT = Subject(
    "LangGraph",
    "a crash repeats the node that ran; the state is kept after each node",
    ("langgraph", "langgraph.checkpoint.sqlite", "langgraph.checkpoint.postgres"),
    {"turns": turns},
)
