"""The settings of an orchestrator: each is also a keyword of `Orchestrator`.

A program may have defaults of its own:

    class Config(Orchestrator.Config):
        run_mode = RunMode.DAEMON
        max_workers = 4
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from enum import StrEnum
from typing import Any, get_args

from tenuto.errors import InvalidInput
from tenuto.observability.agent_logs import AgentLogConfig
from tenuto.supervisor.access import check_allowed
from tenuto.supervisor.addresses import Address
from tenuto.supervisor.entry import Executor

__all__ = ["OrchestratorConfig", "RunMode", "settings_of"]


class RunMode(StrEnum):
    """When an orchestrator ends by itself."""

    STOP_ON_EMPTY = "STOP_ON_EMPTY"
    """when no agent runs or waits any more"""
    DAEMON = "DAEMON"
    """never: it has to be told"""


@dataclass(frozen=True, kw_only=True)
class OrchestratorConfig:
    """How an orchestrator works. Bad values are refused with an `InvalidInput` that names the field."""

    max_workers: int = 10
    """service agents that run at once. Workers of `register_runner` do not count"""
    run_mode: RunMode | None = None
    """when it ends by itself; None: `STOP_ON_EMPTY`, but `DAEMON` with a registered runner"""
    check_interval: float = 1.0
    """an idle worker asks for work at least this often, seconds. An upper bound: hints make it ask at once"""
    agent_start_timeout: float = 30
    """most seconds until an agent is ready"""
    agent_stop_timeout: float = 10
    """most seconds that agents have to stop when asked; all of them together, when all are"""
    enable_command_interface: bool = False
    """whether it listens for commands, as `tenuto ps` sends them"""
    command_zmq_address: str | None = None
    """where it listens; None: a socket in the run directory that its owner alone can use"""
    allowed_commands: str | Collection[str] | None = None
    """the commands that it obeys, or a preset: `basic`, `monitoring`, `all`; None: all"""
    command_token: str | None = field(default=None, repr=False)
    """what every command must carry; an address other than this machine's own has to have one"""
    history_max_events: int = 1000
    """events of agents that are kept, in memory"""
    history_payload_bytes: int = 256
    """bytes of an event's payload that are kept"""
    executor: Executor = "process"
    """where agents run whose class does not say: in a process, in a thread, or ("async") on a shared event loop.
    Workers of a store that only this process can reach run in threads instead of processes"""
    agent_logs: AgentLogConfig | None = field(default_factory=AgentLogConfig)
    """how agents log, each to a file of its own; None: to the program's log"""
    preload: Collection[str] = ()
    """modules that process agents find imported. They share the memory and need not wait for the import; only for
    modules that start no thread while they are imported. `module:function` calls that function as well"""

    def __init_subclass__(cls) -> None:
        known = OrchestratorConfig.__annotations__
        own = {name: known.get(name, Any) for name in vars(cls) if not name.startswith("_")}
        cls.__annotations__ = {**own, **inspect.get_annotations(cls)}
        dataclass(frozen=True, kw_only=True)(cls)

    def __post_init__(self) -> None:
        self._check_number("max_workers", 1, 100_000, whole=True)
        self._check_number("check_interval", 0.005, 3_600)
        self._check_number("agent_start_timeout", 0.001, 86_400)
        self._check_number("agent_stop_timeout", 0, 86_400)
        self._check_number("history_max_events", 0, 100_000_000, whole=True)
        self._check_number("history_payload_bytes", 0, 1 << 24, whole=True)
        if self.executor not in get_args(Executor):
            raise InvalidInput(f"executor must be 'process', 'thread' or 'async', not {self.executor!r}")
        mode: Any = self.run_mode
        if mode is not None and mode not in list(RunMode):
            raise InvalidInput(f"run_mode must be a RunMode ({', '.join(RunMode)}), not {mode!r}")
        if mode is not None and not isinstance(mode, RunMode):
            object.__setattr__(self, "run_mode", RunMode(mode))
        interface: Any = self.enable_command_interface
        if not isinstance(interface, bool):
            raise InvalidInput(f"enable_command_interface must be True or False, not {interface!r}")
        logs: Any = self.agent_logs
        if logs is not None and not isinstance(logs, AgentLogConfig):
            raise InvalidInput(f"agent_logs must be an AgentLogConfig or None, not {type(logs).__name__}")
        if isinstance(self.preload, str):
            raise InvalidInput(f"preload must be a list of module names, not the single text {self.preload!r}")
        self._check_interface()

    def _check_interface(self) -> None:
        check_allowed(self.allowed_commands)
        if self.command_zmq_address is not None:
            try:
                Address.parse(self.command_zmq_address)
            except InvalidInput as error:
                raise InvalidInput(f"command_zmq_address: {error}") from None
        token: Any = self.command_token
        if token is not None and not isinstance(token, str):
            raise InvalidInput(f"command_token must be text, not {type(token).__name__}")

    def _check_number(self, name: str, least: float, most: float, *, whole: bool = False) -> None:
        value = getattr(self, name)
        sound = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
        if not sound or not math.isfinite(value) or not least <= value <= most:
            if whole:
                raise InvalidInput(f"{name} must be a whole number from {least:,} to {most:,}, not {value!r}")
            raise InvalidInput(f"{name} must be between {least:g} and {most:g} seconds, not {value!r}")

    @classmethod
    def names(cls) -> list[str]:
        """The names of all settings."""
        return [each.name for each in fields(cls)]


def settings_of(
    kind: type[OrchestratorConfig], config: OrchestratorConfig | None, given: Mapping[str, Any]
) -> OrchestratorConfig:
    """`config`, or what `kind` says by itself, with what is `given` besides. Raises `InvalidInput`."""
    if config is not None and not isinstance(config, OrchestratorConfig):
        raise InvalidInput(f"config must be an Orchestrator.Config, not {type(config).__name__}")
    base = kind() if config is None else config
    known = base.names()
    for name in given:
        if name not in known:
            close = get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(sorted(known))}"
            raise InvalidInput(f"Orchestrator has no setting {name!r}: {hint}")
    return replace(base, **given)
