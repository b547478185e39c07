"""Tools for tests of agents: a scripted provider, a scripted model, and a clock that the test moves.

    from tenuto.testing import Endpoint, Reply, ToolCall

    with Endpoint([Reply(tools=[ToolCall("weather", {"city": "Oslo"})]), "It rains."]) as endpoint:
        ...  # point the provider's SDK at endpoint.openai_url or endpoint.anthropic_url

`docs/testing.md` shows them at work. What speaks to or as a model needs the extra `tenuto[llm]`; the clock needs
nothing. Everything here is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tenuto.testing.calls import Call
    from tenuto.testing.clock import VirtualClock
    from tenuto.testing.conversation import Message, Request, ToolCall, ToolResult
    from tenuto.testing.crashes import CrashRun, crash_matrix
    from tenuto.testing.deaths import Crash, CrashPoint
    from tenuto.testing.endpoint import Endpoint
    from tenuto.testing.endpoint_process import EndpointProcess
    from tenuto.testing.model import ScriptedModel
    from tenuto.testing.script import Reply, Rule, Script, ScriptError, Usage
    from tenuto.testing.stand_in import stand_in

__all__ = [
    "Call",
    "Crash",
    "CrashPoint",
    "CrashRun",
    "Endpoint",
    "EndpointProcess",
    "Message",
    "Reply",
    "Request",
    "Rule",
    "Script",
    "ScriptError",
    "ScriptedModel",
    "ToolCall",
    "ToolResult",
    "Usage",
    "VirtualClock",
    "crash_matrix",
    "stand_in",
]

_HOMES = {
    "calls": ("Call",),
    "clock": ("VirtualClock",),
    "crashes": ("CrashRun", "crash_matrix"),
    "conversation": ("Message", "Request", "ToolCall", "ToolResult"),
    "deaths": ("Crash", "CrashPoint"),
    "endpoint": ("Endpoint",),
    "endpoint_process": ("EndpointProcess",),
    "model": ("ScriptedModel",),
    "script": ("Reply", "Rule", "Script", "ScriptError", "Usage"),
    "stand_in": ("stand_in",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'tenuto.testing' has no attribute {name!r}")
    value = getattr(import_module(f"tenuto.testing.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
