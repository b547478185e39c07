"""Settings that are classes: attributes are the defaults, keyword arguments override them.

    class Writer(PeriodicProcessAgent):
        class Config(PeriodicProcessAgent.Config):
            execution_interval = 0.5
            path: str                       # no default: has to be given

            def validate(self):
                findings = super().validate()
                if not self.path.startswith("/"):
                    findings.append(ValidationResult("path", "must be absolute", ValidationSeverity.ERROR))
                return findings

    Writer.Config(path="/var/log/a.txt")

`validate` returns findings, each with a severity; the `validation_policy` says which of them matter. A warning is
logged, an error refuses the configuration, and a critical finding refuses it whatever the policy says.
"""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from enum import IntEnum
from typing import Any

from tenuto.errors import InvalidInput
from tenuto.supervisor.restart import RestartPolicy

__all__ = ["AgentConfig", "Config", "ValidationPolicy", "ValidationResult", "ValidationSeverity"]


class ValidationSeverity(IntEnum):
    """How bad a finding is."""

    WARNING = 1
    """worth a line in the log"""
    ERROR = 2
    """the agent must not start, unless its policy ignores errors"""
    CRITICAL = 3
    """the agent must not start"""


@dataclass(frozen=True)
class ValidationResult:
    """One finding about one field."""

    field: str
    message: str
    severity: ValidationSeverity = ValidationSeverity.ERROR

    def __str__(self) -> str:
        return f"{self.field} {self.message}"


@dataclass(frozen=True)
class ValidationPolicy:
    """Which findings matter. Critical ones always do."""

    ignore_warnings: bool = False
    ignore_errors: bool = False

    def refusals(self, findings: Iterable[ValidationResult]) -> list[ValidationResult]:
        """Those that stop an agent from starting."""
        least = ValidationSeverity.CRITICAL if self.ignore_errors else ValidationSeverity.ERROR
        return [each for each in findings if each.severity >= least]

    def warnings(self, findings: Iterable[ValidationResult]) -> list[ValidationResult]:
        """Those that are to be logged."""
        if self.ignore_warnings:
            return []
        refused = self.refusals(findings)
        return [each for each in findings if each not in refused]


class Config:
    """Settings of anything: see the module. Raises `InvalidInput` for a keyword that names no setting."""

    validation_policy: ValidationPolicy = ValidationPolicy()

    def __init__(self, **settings: Any) -> None:
        known = self.names()
        for name, value in settings.items():
            if name not in known:
                close = get_close_matches(name, known, n=1)
                hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(sorted(known))}"
                raise InvalidInput(f"{type(self).__qualname__} has no setting {name!r}: {hint}")
            setattr(self, name, value)
        for name in known:
            if name not in settings and isinstance(value := getattr(self, name, None), list | dict | set):
                setattr(self, name, copy.copy(value))  # each has its own

    @classmethod
    def names(cls) -> list[str]:
        """The names of all settings, those of the base classes first."""
        found: dict[str, None] = {}
        for owner in reversed(cls.__mro__[:-1]):
            hints = {name: None for name, hint in inspect.get_annotations(owner).items() if "ClassVar" not in str(hint)}
            values = {name: None for name, value in vars(owner).items() if not _is_member(value)}
            found |= {name: None for name in {**hints, **values} if not name.startswith("_")}
        return list(found)

    def values(self) -> dict[str, Any]:
        """Every setting that has a value."""
        return {name: getattr(self, name) for name in self.names() if hasattr(self, name)}

    def validate(self) -> list[ValidationResult]:
        """What is wrong with these settings. Override it, and add to what `super().validate()` returns."""
        return [
            ValidationResult(name, "is missing: it has no default", ValidationSeverity.CRITICAL)
            for name in self.names()
            if not hasattr(self, name)
        ]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Config) and type(self) is type(other) and self.values() == other.values()

    __hash__ = None  # type: ignore[assignment]  # settings can be changed

    def __repr__(self) -> str:
        return f"{type(self).__qualname__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


class AgentConfig(Config):
    """What every service agent can be told."""

    restart: RestartPolicy = RestartPolicy()
    """whether it is started again after it has ended"""
    start_timeout: float | None = None
    """most seconds until it is ready; None: as the orchestrator says"""
    stop_timeout: float | None = None
    """most seconds it may take to stop; None: as the orchestrator says"""
    heartbeat_timeout: float | None = None
    """most seconds between two heartbeats, of an agent that has sent one; then it counts as hung and is killed"""

    def validate(self) -> list[ValidationResult]:
        """Checks what every agent has."""
        findings = super().validate()
        restart: Any = self.restart
        if not isinstance(restart, RestartPolicy):
            findings.append(critical("restart", f"must be a RestartPolicy, not {restart!r}"))
        for name in ("start_timeout", "stop_timeout", "heartbeat_timeout"):
            if getattr(self, name) is not None:
                findings += seconds(self, name, 0.0, 86_400.0)
        return findings


def critical(field: str, message: str) -> ValidationResult:
    """A finding that no policy ignores."""
    return ValidationResult(field, message, ValidationSeverity.CRITICAL)


def seconds(config: Config, name: str, least: float, most: float) -> list[ValidationResult]:
    """A finding when the setting `name` is no number of seconds between `least` and `most`."""
    value = getattr(config, name)
    sound = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if sound and least <= value <= most:
        return []
    return [critical(name, f"must be between {least:g} and {most:g} seconds, not {value!r}")]


def _is_member(value: object) -> bool:
    """Whether it is part of the class rather than a setting: a method, a property, a nested class."""
    return inspect.isroutine(value) or isinstance(value, property | type | classmethod | staticmethod)
