"""Exit codes, and errors as people meet them: one sentence on standard error, never a traceback.

With `--debug` or TENUTO_DEBUG=1 the traceback is shown above the sentence.
"""

from __future__ import annotations

import os
import sys
import traceback
from enum import IntEnum

from tenuto import errors

__all__ = ["EXIT_CODES", "ExitCode", "complain", "debugging", "exit_code_of", "one_line"]


class ExitCode(IntEnum):
    """What the program ends with."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    CANCELLED = 4
    TIMEOUT = 5
    STORE = 6
    UNREACHABLE = 7
    FORBIDDEN = 8
    INTERRUPTED = 130
    BROKEN_PIPE = 141


EXIT_CODES = {
    ExitCode.OK: "done",
    ExitCode.FAILED: "the task or goal failed, a check found damage, or a replay departs from the record",
    ExitCode.USAGE: "a wrong argument or input; nothing was changed",
    ExitCode.NOT_FOUND: "no such task, goal, schedule, store or file",
    ExitCode.CANCELLED: "the task or goal was cancelled",
    ExitCode.TIMEOUT: "the time given with --timeout is over",
    ExitCode.STORE: "the store cannot be used: unreachable, full, read-only, damaged, too new",
    ExitCode.UNREACHABLE: "no orchestrator answers at that address",
    ExitCode.FORBIDDEN: "the orchestrator does not allow that command",
    ExitCode.INTERRUPTED: "interrupted (Ctrl-C); nothing is lost",
    ExitCode.BROKEN_PIPE: "whoever read the output went away",
}

_CODES: tuple[tuple[type[BaseException], ExitCode], ...] = (
    (errors.NotFound, ExitCode.NOT_FOUND),
    (errors.TaskCancelled, ExitCode.CANCELLED),
    (errors.WaitTimeout, ExitCode.TIMEOUT),
    (errors.StoreError, ExitCode.STORE),
    (errors.Unreachable, ExitCode.UNREACHABLE),
    (errors.Forbidden, ExitCode.FORBIDDEN),
    (errors.InvalidInput, ExitCode.USAGE),
    (errors.Conflict, ExitCode.USAGE),
    (errors.Unstorable, ExitCode.USAGE),
    (errors.MissingExtra, ExitCode.USAGE),
    (KeyboardInterrupt, ExitCode.INTERRUPTED),
    (BrokenPipeError, ExitCode.BROKEN_PIPE),
)


def exit_code_of(error: BaseException) -> ExitCode:
    """The exit code that tells a shell script what `error` tells people."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), ExitCode.FAILED)


def debugging() -> bool:
    """Whether tracebacks were asked for."""
    return os.environ.get("TENUTO_DEBUG", "") not in ("", "0")


def complain(error: BaseException) -> ExitCode:
    """Says on standard error what went wrong, and returns the exit code for it."""
    code = exit_code_of(error)
    if debugging():
        traceback.print_exception(error, file=sys.stderr)
    if code is ExitCode.BROKEN_PIPE:
        return code
    if code is ExitCode.INTERRUPTED:
        sentence = "interrupted"
    elif isinstance(error, errors.TenutoError):
        sentence = one_line(error)
    else:
        sentence = f"unexpected {type(error).__name__}: {one_line(error)} (TENUTO_DEBUG=1 shows where)"
    print(f"tenuto: {sentence}", file=sys.stderr)  # noqa: T201
    return code


def one_line(error: BaseException | str) -> str:
    """The text of `error` on one line, with nothing in it that a terminal would obey."""
    text = " ".join(str(error).split()) or (type(error).__name__ if isinstance(error, BaseException) else "")
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)
