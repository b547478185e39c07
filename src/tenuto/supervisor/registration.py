"""From what people write to register an agent, to its entry: checked before anything starts."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from tenuto.errors import InvalidInput
from tenuto.observability.logging import logger
from tenuto.supervisor.agents.base import BaseAgent
from tenuto.supervisor.config import Config
from tenuto.supervisor.entry import AgentEntry, Executor
from tenuto.supervisor.plugins import PluginSet
from tenuto.tasks.ids import check_name

__all__ = ["registered"]

log = logger("tenuto.supervisor")


def registered(
    agent_class: type[BaseAgent],
    name: str,
    config: Any,
    plugin: Any,
    *,
    arguments: Mapping[str, Any],
    executor: Executor | None,
    default: Executor,
    counted: bool,
    essential: bool,
) -> AgentEntry:
    """The entry of a new agent. Raises `InvalidInput` that says which agent, which argument, and what is wrong.

    executor: where it runs, instead of what its class says. default: where it runs if neither says.
    """
    kind: Any = agent_class
    if not inspect.isclass(kind) or not issubclass(kind, BaseAgent):
        shown = kind.__name__ if inspect.isclass(kind) else repr(kind)[:80]
        raise InvalidInput(f"agent_class of {name!r} must be a class of agents, such as BaseProcessAgent, not {shown}")
    check_name(name, "agent name")
    return AgentEntry(
        name=name,
        agent_class=agent_class,
        config=_checked(agent_class, name, config),
        plugin=_plugins(agent_class, name, plugin),
        arguments=dict(arguments),
        executor=_executor(agent_class, executor or agent_class.executor or default),
        counted=counted,
        essential=essential,
    )


def _executor(agent_class: type[BaseAgent], chosen: Executor) -> Executor:
    """Where it runs: functions that may block cannot run on an event loop, so they get a thread."""
    return "thread" if chosen == "async" and not agent_class.asynchronous else chosen


def _checked(agent_class: type[BaseAgent], name: str, given: Any) -> Config:
    if given is None:
        config: Any = agent_class.Config()
    elif isinstance(given, Mapping):
        try:
            config = agent_class.Config(**given)
        except InvalidInput as error:
            raise InvalidInput(f"custom_config of agent {name!r}: {error}") from None
    elif isinstance(given, agent_class.Config):
        config = given
    else:
        wanted = agent_class.Config.__qualname__
        raise InvalidInput(f"custom_config of agent {name!r} must be a {wanted}, not {type(given).__name__}")
    findings = config.validate()
    refused = config.validation_policy.refusals(findings)
    if refused:
        raise InvalidInput(f"the configuration of agent {name!r} is refused: {'; '.join(map(str, refused))}")
    for finding in config.validation_policy.warnings(findings):
        log.warning("the configuration of an agent is doubtful", agent=name, finding=str(finding))
    return config  # type: ignore[no-any-return]  # it is one: see above


def _plugins(agent_class: type[BaseAgent], name: str, given: Any) -> PluginSet:
    if given is None:
        return agent_class.Plugin()
    if isinstance(given, PluginSet):
        return given
    raise InvalidInput(
        f"custom_plugin of agent {name!r} must be a {agent_class.Plugin.__qualname__}, not {type(given).__name__}"
    )
