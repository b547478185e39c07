"""The commands of the supervisor: what each is called, what it takes, what it does.

A command is data: its name, a sentence, its parameters, and a function of their values. `CommandInterface` takes others
beside these, so a program can add its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import partial
from typing import Any, Literal

from tenuto.errors import InvalidInput, NotFound
from tenuto.supervisor.event_bus import OrchestratorEventBus
from tenuto.supervisor.events import Category, Severity, meant_event, plain_name
from tenuto.supervisor.requests import AGENT_NAMES
from tenuto.supervisor.resources import ResourceMeter
from tenuto.supervisor.supervised import Supervised

__all__ = ["Command", "Parameter", "agent_commands"]

_MOST_RECORDS = 1_000
"""Records that one answer may hold; `after_seq` reads on."""


@dataclass(frozen=True)
class Parameter:
    """One value that a command takes."""

    name: str
    kind: type = str
    required: bool = False
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Command:
    """One command. `run` gets the values by keyword and answers with JSON types; it may block."""

    name: str
    help: str
    run: Callable[..., Any]
    parameters: tuple[Parameter, ...] = ()
    acts: bool = False
    """whether it changes something, and so may take long"""
    masks: bool = False
    """whether the answer may hold secrets, which are masked then"""
    after: Callable[[], object] | None = None
    """what is done in a thread of its own once the answer is on its way"""

    def arguments(self, given: Mapping[str, Any] | Sequence[Any]) -> dict[str, Any]:
        """The values for `run`. Raises `InvalidInput` for one that is missing, unknown or of another type."""
        if not isinstance(given, Mapping):
            if len(given) > len(self.parameters):
                raise InvalidInput(f"{self.name} takes at most {len(self.parameters)} args, not {len(given)}")
            given = {parameter.name: value for parameter, value in zip(self.parameters, given, strict=False)}
        left = dict(given)
        found: dict[str, Any] = {}
        for parameter in self.parameters:
            for name in (parameter.name, *parameter.aliases):
                value = left.pop(name, None)
                if value is not None and parameter.name not in found:
                    found[parameter.name] = self._checked(parameter, value)
            if parameter.required and parameter.name not in found:
                raise InvalidInput(f"{self.name} needs {parameter.name}: write " + self._example())
        if left:
            takes = ", ".join(parameter.name for parameter in self.parameters) or "nothing"
            raise InvalidInput(f"{self.name} does not take {next(iter(left))!r:.60}: it takes {takes}")
        return found

    def _checked(self, parameter: Parameter, value: Any) -> Any:
        if parameter.kind is int and isinstance(value, str) and value.isascii() and value.isdigit():
            value = int(value)
        good = isinstance(value, parameter.kind) and not (parameter.kind is int and isinstance(value, bool))
        if parameter.kind is str and value == "":
            raise InvalidInput(f"{self.name}: {parameter.name} is empty")
        if not good:
            raise InvalidInput(
                f"{self.name}: {parameter.name} must be of type {parameter.kind.__name__}, not {value!r:.60}"
            )
        return value

    def _example(self) -> str:
        fields = ", ".join(f'"{each.name}": …' for each in self.parameters if each.required)
        return f'{{"command": "{self.name}", "args": {{{fields}}}}}'


_AGENT = Parameter(AGENT_NAMES[0], required=True, aliases=AGENT_NAMES[1:])
_ANY_AGENT = Parameter(AGENT_NAMES[0], aliases=AGENT_NAMES[1:])
_HISTORY = (
    Parameter("event", aliases=("event_name",)),
    _ANY_AGENT,
    Parameter("category"),
    Parameter("severity"),
    Parameter("after", int, aliases=("after_seq",)),
    Parameter("limit", int),
)


def agent_commands(supervised: Supervised, bus: OrchestratorEventBus) -> list[Command]:
    """The commands over `supervised` and the history of `bus`."""
    meter = ResourceMeter()

    def did(verb: Literal["start", "stop", "restart"], agent: str) -> Any:
        return getattr(supervised, verb)(agent) or {"agent": agent}

    return [
        Command("ps", "List the agents.", supervised.ps),
        Command(
            "status",
            "Show the orchestrator, or one agent with its settings.",
            lambda agent=None: supervised.status(agent),
            (_ANY_AGENT,),
            masks=True,
        ),
        Command("start", "Start an agent.", partial(did, "start"), (_AGENT,), acts=True),
        Command("stop", "Stop an agent, and wait until it has ended.", partial(did, "stop"), (_AGENT,), acts=True),
        Command("restart", "Stop an agent, and start it.", partial(did, "restart"), (_AGENT,), acts=True),
        Command("stats", "Show numbers: agents, events, CPU and memory.", partial(_stats, supervised, bus, meter)),
        Command("history", "Show what has happened.", partial(_history, supervised, bus), _HISTORY, masks=True),
        Command("history-stats", "Show how many events there were.", partial(_history_stats, bus)),
        Command("dependencies", "Show which agent waits for which.", supervised.dependencies),
        Command(
            "shutdown",
            "Stop all agents and end.",
            lambda: {"shutting_down": True, "pid": os.getpid()},
            acts=True,
            after=supervised.shutdown,
        ),
    ]


def _stats(supervised: Supervised, bus: OrchestratorEventBus, meter: ResourceMeter) -> Mapping[str, Any]:
    rows = supervised.ps()
    own = os.getpid()
    used = meter.measure({own, *(row["pid"] for row in rows if row.get("pid") and row.get("ended_at") is None)})
    agents = [
        {
            "name": row["name"],
            "state": row["state"],
            "pid": row.get("pid"),
            "restarts": row.get("restarts", 0),
            "seconds": row.get("seconds"),
            **(asdict(used[row["pid"]]) if row.get("pid") in used and row.get("pid") != own else {}),
        }
        for row in rows
    ]
    history = bus.event_store.stats()
    return {
        **supervised.stats(),
        "process": {"pid": own, **asdict(used[own])} if own in used else {"pid": own},
        "events": {"emitted": history.emitted, "kept": history.kept},
        "callbacks": _callbacks(bus),
        "each": agents,
    }


def _callbacks(bus: OrchestratorEventBus) -> dict[str, int]:
    found = bus.callbacks()
    return {
        "registered": len(found),
        "called": sum(each.called for each in found),
        "failed": sum(each.failed for each in found),
        "waiting": sum(each.waiting for each in found),
        "left_out": sum(each.left_out for each in found),
    }


def _history(
    supervised: Supervised,
    bus: OrchestratorEventBus,
    event: str | None = None,
    agent: str | None = None,
    category: str | None = None,
    severity: str | None = None,
    after: int | None = None,
    limit: int = 100,
) -> Collection[Mapping[str, Any]]:
    if limit > _MOST_RECORDS:
        raise InvalidInput(f"history: limit must be at most {_MOST_RECORDS:,}; read on with after")
    _check_choice("category", category, Category)
    _check_choice("severity", severity, Severity)
    found = bus.event_store.query(event, agent, category, severity, after, limit)
    if not found:
        _check_names(supervised, bus, event, agent)
    return [record.document() for record in found]


def _check_names(supervised: Supervised, bus: OrchestratorEventBus, event: str | None, agent: str | None) -> None:
    """There may be no records because there is a typing error in the question. Raises what tells so."""
    if event is not None:
        meant = meant_event(plain_name(event), bus.event_store.stats().by_event)
        if meant not in (None, plain_name(event)):
            raise InvalidInput(f"history: there is no event {event!r}: did you mean {meant}?")
    if agent is not None and all(agent != row["name"] for row in supervised.ps()):
        raise NotFound(f"there is no agent {agent!r}, and nothing is known of one")


def _check_choice(name: str, value: str | None, choices: type[StrEnum]) -> None:
    if value is not None and value.lower() not in list(choices):
        raise InvalidInput(f"history: {name} must be {', '.join(choices)}, not {value!r:.60}")


def _history_stats(bus: OrchestratorEventBus) -> Mapping[str, Any]:
    return {**asdict(bus.event_store.stats()), "callbacks": [each._asdict() for each in bus.callbacks()]}
