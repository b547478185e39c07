"""Where the log goes while this program works: standard error; with `--debug` all of it."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

from tenuto.cli.errors import debugging

__all__ = ["log_to_stderr"]


class _Stderr:
    """Standard error as it is when something is written: a live picture puts itself in between."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def log_to_stderr(level: int = logging.WARNING) -> None:
    """Sets up the log of this process: what is at least as grave as `level`."""
    processors: list[Any] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
    ]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if debugging() else level),
        logger_factory=structlog.PrintLoggerFactory(_Stderr()),  # type: ignore[arg-type]
        cache_logger_on_first_use=False,
    )
