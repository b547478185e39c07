"""A log file for each service agent: structured, rotated, readable while it is written.

    with AgentLog("db", AgentLogConfig(style="json")) as log:
        log.logger.info("connected", host="db1", seconds=0.2)

The files lie in `.tenuto/logs` (or `TENUTO_LOG_DIR`), one for each agent, called after it; `tenuto logs` shows them.
Each line is JSON, or text for people. A file that has become too large is renamed to `….log.1`, that one to `….log.2`.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import sys
from dataclasses import dataclass
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, Literal, Self, get_args
from urllib.parse import quote, unquote

import structlog

from tenuto.errors import InvalidInput
from tenuto.observability.logging import logger
from tenuto.tasks.ids import check_name

__all__ = ["AgentLog", "AgentLogConfig", "agent_of", "log_directory", "log_file"]

Style = Literal["json", "console"]

_LONGEST_FILE_NAME = 200
_LEVELS = ("debug", "info", "warning", "error", "critical")


@dataclass(frozen=True, kw_only=True)
class AgentLogConfig:
    """How agents log. Travels to other processes."""

    directory: str | None = None
    """by default `TENUTO_LOG_DIR`, else `.tenuto/logs`"""
    style: Style = "json"
    level: str = "info"
    """what is at least as grave is written"""
    max_bytes: int = 10_000_000
    """a file of this size is put aside; 0: never"""
    backups: int = 3
    """how many of those are kept"""

    def __post_init__(self) -> None:
        if self.style not in get_args(Style):
            raise InvalidInput(f"style must be json or console, not {self.style!r}")
        if self.level not in _LEVELS:
            raise InvalidInput(f"level must be one of {', '.join(_LEVELS)}, not {self.level!r}")
        for name in ("max_bytes", "backups"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise InvalidInput(f"{name} must be a whole number from 0, not {value!r}")


class AgentLog:
    """The log of one agent, open for writing. Safe from any thread."""

    def __init__(self, name: str, config: AgentLogConfig | None = None, **context: Any) -> None:
        """context: what every line says besides the agent's name, such as its generation.

        Raises `InvalidInput` when the file cannot be written.
        """
        config = config or AgentLogConfig()
        self.path = log_file(name, config.directory)
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._handler = _File(
                self.path, maxBytes=config.max_bytes, backupCount=config.backups, encoding="utf-8", errors="replace"
            )
        except OSError as error:
            raise InvalidInput(
                f"the log of agent {name!r} cannot be written to {self.path}: {error.strerror or error}; "
                "name another folder with TENUTO_LOG_DIR"
            ) from None
        self._handler.setFormatter(_formatter(config.style))
        self._level = getattr(logging, config.level.upper())
        own = logging.Logger(f"tenuto.agent.{name}", self._level)  # noqa: LOG001 - it goes with us, and nobody's level counts
        own.addHandler(self._handler)
        self.logger: structlog.stdlib.BoundLogger = structlog.wrap_logger(
            own,
            processors=[
                structlog.stdlib.filter_by_level,
                structlog.stdlib.PositionalArgumentsFormatter(),
                *_common(),
                structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
            ],
            wrapper_class=structlog.stdlib.BoundLogger,
            cache_logger_on_first_use=False,
        ).bind(agent=name, **context)

    def take_over(self) -> None:
        """Also writes here what this process logs through `logging`: for a process that is the agent's alone."""
        root = logging.getLogger()
        root.addHandler(self._handler)
        root.setLevel(min(root.level or self._level, self._level))

    def close(self) -> None:
        """Closes the file. What a full disk does not take is lost."""
        logging.getLogger().removeHandler(self._handler)
        with contextlib.suppress(OSError):
            self._handler.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class _File(RotatingFileHandler):
    """A file that may not be written: its agent goes on, and it is told once."""

    _told = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - a hook of `logging`
        """Tells what went wrong, instead of a traceback for each line."""
        if not self._told:
            self._told = True
            logger("tenuto.agent").warning(
                "a line of an agent's log is lost, and perhaps more", path=self.baseFilename, why=repr(sys.exception())
            )


def _common() -> list[Any]:
    return [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        structlog.processors.UnicodeDecoder(),
    ]


def _formatter(style: Style) -> logging.Formatter:
    last: Any = (
        structlog.processors.JSONRenderer(ensure_ascii=False, default=repr)
        if style == "json"
        else structlog.dev.ConsoleRenderer(colors=False)
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_logger_name, *_common()],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
    )


def log_directory(directory: str | None = None) -> Path:
    """Where the logs lie, whether it exists or not."""
    return Path(directory or os.environ.get("TENUTO_LOG_DIR") or ".tenuto/logs").absolute()


def log_file(name: str, directory: str | None = None) -> Path:
    """The file of the agent called `name`."""
    written = quote(check_name(name, "name"), safe=" ")
    if len(written) > _LONGEST_FILE_NAME:
        written = f"{written[:150]}~{hashlib.blake2b(name.encode(), digest_size=12).hexdigest()}"
    return log_directory(directory) / f"{written}.log"


def agent_of(file: Path) -> str:
    """The agent whose log `file` is; of a very long name the beginning."""
    return unquote(file.name.removesuffix(".log"))
