"""Settings that are classes, their findings, and what an orchestrator may be told."""

from __future__ import annotations

from typing import Any

import pytest

from tenuto.errors import InvalidInput
from tenuto.supervisor.agents.base import BaseThreadAgent
from tenuto.supervisor.agents.looping import LoopingThreadAgent
from tenuto.supervisor.agents.periodic import PeriodicProcessAgent
from tenuto.supervisor.config import Config, ValidationPolicy, ValidationResult, ValidationSeverity
from tenuto.supervisor.registration import registered
from tenuto.supervisor.restart import RestartPolicy, Restarts
from tenuto.supervisor.settings import OrchestratorConfig, RunMode

WARNING, ERROR, CRITICAL = ValidationSeverity


class Checked(BaseThreadAgent):
    class Config(BaseThreadAgent.Config):
        threshold: int = 10
        debug = True
        folders: list[str] = []  # noqa: RUF012 - each instance gets its own

        def validate(self) -> list[ValidationResult]:
            findings = super().validate()
            if not 0 <= self.threshold <= 30:
                findings.append(ValidationResult("threshold", "must be between 0 and 30", ERROR))
            if self.debug:
                findings.append(ValidationResult("debug", "is on", WARNING))
            return findings


def register(config: Any, kind: type[Any] = Checked) -> Any:
    return registered(
        kind, "a", config, None, arguments={}, executor=None, default="process", counted=True, essential=False
    ).config


def test_attributes_are_defaults_and_keywords_override() -> None:
    class Mine(PeriodicProcessAgent.Config):
        limit = 5
        output_directory = "output"

    made = Mine(output_directory="custom")
    assert (made.limit, made.output_directory, made.execution_interval) == (5, "custom", 1.0)
    assert Mine.output_directory == "output"
    assert Mine() == Mine()
    assert Mine() != made
    assert {"limit", "output_directory", "execution_interval", "restart"} <= set(Mine.names())


def test_each_has_its_own_lists() -> None:
    Checked.Config().folders.append("a")
    assert Checked.Config().folders == []


def test_an_unknown_keyword_names_what_was_meant() -> None:
    with pytest.raises(InvalidInput, match=r"Checked\.Config has no setting 'treshold': did you mean threshold\?"):
        Checked.Config(treshold=3)


def test_a_setting_without_a_default_has_to_be_given() -> None:
    class Writer(BaseThreadAgent):
        class Config(BaseThreadAgent.Config):
            path: str

    with pytest.raises(InvalidInput, match="the configuration of agent 'a' is refused: path is missing"):
        register(None, Writer)
    assert register({"path": "x"}, Writer).path == "x"


def test_errors_refuse_warnings_are_told_and_a_policy_decides(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InvalidInput, match="threshold must be between 0 and 30"):
        register(Checked.Config(threshold=150))
    register(Checked.Config())
    assert "debug is on" in capsys.readouterr().err
    register(
        Checked.Config(threshold=150, validation_policy=ValidationPolicy(ignore_warnings=True, ignore_errors=True))
    )
    assert capsys.readouterr().err == ""


def test_a_critical_finding_is_never_ignored() -> None:
    lenient = ValidationPolicy(ignore_warnings=True, ignore_errors=True)
    for config in (
        LoopingThreadAgent.Config(limit=-2, validation_policy=lenient),
        LoopingThreadAgent.Config(restart="always", validation_policy=lenient),
        LoopingThreadAgent.Config(stop_timeout="soon", validation_policy=lenient),
        PeriodicProcessAgent.Config(execution_interval=-1, validation_policy=lenient),
        PeriodicProcessAgent.Config(delay_compensation=1, validation_policy=lenient),
    ):
        assert [each.severity for each in lenient.refusals(config.validate())] == [CRITICAL]
    assert Config().validate() == []


def test_the_delay_doubles_up_to_its_limit_and_a_sound_life_begins_anew() -> None:
    restarts = Restarts(RestartPolicy(mode="on-failure", max_restarts=4, backoff=1, max_backoff=3, window=60))
    assert [restarts.delay(lived=1) for _ in range(5)] == [1, 2, 3, 3, None]
    assert restarts.delay(lived=61) == 1
    assert Restarts(RestartPolicy(mode="always", max_restarts=None)).delay(lived=0) == 0.5


@pytest.mark.parametrize(
    ("mode", "wanted"), [("never", (False, False)), ("on-failure", (False, True)), ("always", (True, True))]
)
def test_which_ends_are_followed_by_a_restart(mode: Any, wanted: tuple[bool, bool]) -> None:
    restarts = Restarts(RestartPolicy(mode=mode))
    assert (restarts.wanted(failed=False), restarts.wanted(failed=True)) == wanted


def test_settings_in_a_mapping_that_are_refused_name_the_agent() -> None:
    with pytest.raises(InvalidInput, match=r"custom_config of agent 'a': .*'tresholt': did you mean threshold"):
        register({"tresholt": 3})


def test_a_restart_policy_is_called_by_its_mode() -> None:
    assert RestartPolicy("always") == RestartPolicy(mode="always")


@pytest.mark.parametrize(
    "wrong", [{"mode": "sometimes"}, {"max_restarts": -1}, {"backoff": -1}, {"window": "long"}, {"max_restarts": True}]
)
def test_a_restart_policy_that_makes_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(wrong))):
        RestartPolicy(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_workers": 0},
        {"max_workers": 2.5},
        {"run_mode": "FOREVER"},
        {"agent_stop_timeout": -1},
        {"agent_start_timeout": 0},
        {"history_max_events": -1},
        {"history_payload_bytes": "many"},
        {"enable_command_interface": "yes"},
        {"executor": "cloud"},
        {"agent_logs": "here"},
        {"preload": "numpy"},
        {"allowed_commands": 5},
        {"command_token": 12345678901234567},
    ],
)
def test_every_bad_value_names_its_field(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=f"^{next(iter(wrong))} must be"):
        OrchestratorConfig(**wrong)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"allowed_commands": "monitor"}, "allowed_commands 'monitor' is no preset: use basic, monitoring, all"),
        ({"command_zmq_address": "tcp://x"}, "command_zmq_address: .*write tcp://HOST:PORT"),
        ({"command_zmq_address": 5570}, "command_zmq_address: .*such as tcp://127.0.0.1:5570"),
    ],
)
def test_settings_of_the_command_interface_are_checked_also_while_it_is_off(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        OrchestratorConfig(**wrong)


def test_the_defaults_of_the_page() -> None:
    config = OrchestratorConfig()
    assert (config.max_workers, config.agent_start_timeout, config.agent_stop_timeout) == (10, 30, 10)
    assert (config.enable_command_interface, config.history_max_events, config.executor) == (False, 1000, "process")
    assert OrchestratorConfig(run_mode="DAEMON").run_mode is RunMode.DAEMON  # type: ignore[arg-type]
