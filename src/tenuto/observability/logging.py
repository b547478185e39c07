"""The log of the library: through the program's own structlog where it has configured one, else to standard error.

structlog's default prints to standard output, which belongs to the program that uses us. So as long as nobody has
called `structlog.configure`, warnings and worse go to standard error, one line each.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, cast

import structlog

__all__ = ["logger"]


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """The logger called `name`. It looks at how structlog is configured each time it is used."""
    return cast("structlog.stdlib.BoundLogger", _Logger(name))


class _Logger:
    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, verb: str) -> Any:
        target = structlog.stdlib.get_logger(self._name) if structlog.is_configured() else _to_stderr()
        return getattr(target, verb)


def _to_stderr() -> Any:
    return structlog.wrap_logger(
        structlog.PrintLogger(sys.stderr),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
    )
