"""What is said of errors and signals: text that can be shown, sent and kept, whatever agents raise.

An exception may have a text of 100 MB, one that cannot be encoded (the name of a file in another encoding), or none at
all because its `__str__` raises. Passwords in URLs are masked.
"""

from __future__ import annotations

import signal
import traceback

from tenuto.supervisor.access import masked
from tenuto.supervisor.exceptions import NonRecoverableException

__all__ = ["error_text", "message_of", "signal_name", "traceback_text"]

_LONGEST = 4_000
"""Characters that are kept of an error, and of its traceback."""
_TRACEBACK = 8
"""Lines of a traceback that are kept."""


def error_text(error: BaseException) -> str:
    """`error` as `ValueError: no such table`; what an agent says itself as it says it."""
    name, message = type(error).__name__, message_of(error)
    if message and isinstance(error, NonRecoverableException):
        return message
    return f"{name}: {message}" if message else name


def message_of(error: BaseException) -> str:
    """What `error` says, without its type."""
    try:
        return _fit(str(error))
    except Exception as raised:  # noqa: BLE001 - it is the program's code
        return f"(its text cannot be made: {type(raised).__name__})"


def traceback_text(error: BaseException) -> str:
    """The end of the traceback of `error`."""
    return _fit("".join(each[-_LONGEST:] for each in traceback.format_exception(error)[-_TRACEBACK:]))


def signal_name(number: int) -> str:
    """`SIGKILL` …; a signal without a name (a real-time one) by its number."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _fit(text: str) -> str:
    shown = str(masked(text[: 2 * _LONGEST]))
    shown = shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}…"
    return shown.encode("utf-8", "backslashreplace").decode()
