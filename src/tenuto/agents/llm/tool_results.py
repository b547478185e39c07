"""Results of tools that are too large for the conversation: the journal has them whole, the model gets a part.

    agent = Agent("clerk", tools=[fetch], tool_result_limit=20_000)

    @tool(result_limit=2_000)
    def listing(folder: str) -> str: ...

What is longer than the limit is cut in its middle: the model gets the beginning, the end, how long the whole is, and
its name for `read_result`, a tool with which it reads on. That holds for what functions, MCP servers and other agents
give, and for answers to calls that others answer. An agent of Pydantic AI takes the same as a capability:
`capabilities=[ToolResultLimit(20_000)]`; a tool of any toolset has its limit in its metadata,
`{"tenuto": {"result_limit": 2_000}}`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec
import pydantic_core
from pydantic_ai import FunctionToolset, ModelRetry, RunContext, ToolReturn
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.messages import ToolCallPart
from pydantic_ai.tools import ToolDefinition

from tenuto.agents.llm.current import ATTEMPT
from tenuto.agents.llm.tools import SMALLEST, options_of
from tenuto.errors import InvalidInput
from tenuto.tasks.calls import answer_key, call_name
from tenuto.tasks.outcome import StepState

__all__ = ["ToolResultLimit", "shown_answer"]

_READER = "read_result"
_NAME = re.compile(r"turn-\d+/call-[^/]+/[^/]+|call-[^/]+@answer")
_PART = 20_000
"""Characters that are read at once where only tools have limits."""


class ToolResultLimit(AbstractCapability[Any]):
    """Cuts what tools return inside a task to `limit` characters, and lets the model read on."""

    def __init__(self, limit: int | None = None) -> None:
        """limit: of tools that have none of their own; None: there is no other. Raises `InvalidInput` for a limit under
        1,000 characters."""
        if limit is not None and (type(limit) is not int or limit < SMALLEST):
            raise InvalidInput(
                f"tool_result_limit must be a whole number of characters from {SMALLEST:,}, not {limit!r}"
            )
        self.limit = limit

    def get_toolset(self) -> FunctionToolset[Any]:
        """The tool with which the model reads on."""
        toolset = FunctionToolset[Any](id="tenuto-results")
        toolset.add_function(self._read, name=_READER, takes_ctx=False)
        return toolset

    async def after_tool_execute(
        self, ctx: RunContext[Any], *, call: ToolCallPart, tool_def: ToolDefinition, args: Any, result: Any
    ) -> Any:
        """What the model is given of a result. Files and images are not touched."""
        attempt = ATTEMPT.get()
        if attempt is None or tool_def.name == _READER:
            return result
        approved = "@approved" if ctx.tool_call_approved else ""
        name = f"{attempt.here.path}{call_name(call.tool_call_id)}/{tool_def.name}{approved}"
        if isinstance(result, ToolReturn):
            return replace(result, return_value=self.shown(result.return_value, tool_def, name))
        return self.shown(result, tool_def, name)

    def shown(self, result: Any, tool_def: ToolDefinition | None, name: str) -> Any:
        """What the model is given of the result `name` of a tool."""
        own = None if tool_def is None else options_of(tool_def.metadata, tool_def.name).result_limit
        limit, text = own or self.limit, _text(result)
        if limit is None or text is None or len(text) <= limit:
            return result
        beginning, end = limit * 2 // 3, limit // 3
        left_out = len(text) - beginning - end
        return (
            f"{text[:beginning]}\n[{left_out:,} of {len(text):,} characters are left out here; "
            f"{_READER}(result={name!r}, offset={beginning}) reads on]\n{text[-end:]}"
        )

    async def _read(self, result: str, offset: int = 0) -> str:
        """Reads on in a tool's result that was cut.

        Args:
            result: its name, as the cut result tells it.
            offset: the first character to read.
        """
        attempt = ATTEMPT.get()
        step = attempt.journal.note(result) if attempt is not None and _NAME.fullmatch(result) else None
        if attempt is None or step is None or step.state is not StepState.DONE:
            raise ModelRetry(f"there is no result {result!r}: take the name that the cut result tells")
        whole = _text(_given(await attempt.journal.value(step))) or ""
        if not 0 <= offset < len(whole):
            raise ModelRetry(f"offset must be from 0 to {len(whole) - 1}")
        until = offset + (self.limit or _PART)
        rest = len(whole) - until
        return whole[offset:until] + (f"\n[{rest:,} characters follow; go on at offset={until}]" if rest > 0 else "")


def shown_answer(ctx: RunContext[Any], call: ToolCallPart, answer: Any) -> Any:
    """What the model is given of an answer to a call that others answer."""
    found: list[AbstractCapability[Any]] = []
    if ctx.root_capability is not None:
        ctx.root_capability.apply(found.append)
    limit = next((each for each in found if isinstance(each, ToolResultLimit)), None)
    if limit is None:
        return answer
    definition = None if ctx.tool_manager is None else ctx.tool_manager.get_tool_def(call.tool_name)
    return limit.shown(answer, definition, answer_key(call.tool_call_id))


def _given(entry: Mapping[str, Any]) -> Any:
    """What a call gave, from its entry in the journal: see `tasks.turns.outcome_of`."""
    if "kind" not in entry:
        return entry.get("value")
    match entry:
        case {"result": {"kind": "tool-return", "return_value": value}}:
            return value
        case {"kind": "tool_content_result", "result": {"return_value": value}}:
            return value
    return entry.get("result")


def _text(result: Any) -> str | None:
    """A result as the model would read it; None for what is no text."""
    if isinstance(result, str):
        return result
    try:
        return msgspec.json.encode(result).decode() if result is not None else None
    except (TypeError, UnicodeDecodeError):  # no plain data
        return _of_model(result)


def _of_model(result: Any) -> str | None:
    if not hasattr(result, "model_dump_json"):
        return None
    return pydantic_core.to_json(result).decode()
