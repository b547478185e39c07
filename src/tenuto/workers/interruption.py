"""How a task's program is left before its end, without its own code taking that for an error.

These derive from `BaseException`, as `asyncio.CancelledError` does: `except Exception` in a task's function must not
swallow them. Each is raised by a verb of the context and travels up to the worker, which reports what it stands for.
A function that catches them all the same gains nothing: every further verb raises the same again, and the attempt ends
as if they had not been caught.
"""

from __future__ import annotations

import signal

from tenuto.tasks.waits import Wait

__all__ = ["HandedBack", "Interruption", "Suspended", "contained", "is_ctrl_c"]


class Interruption(BaseException):
    """The attempt ends here, unharmed."""


class Suspended(Interruption):
    """The task waits in the store and holds nothing: no slot, no thread, no memory.

    When what it waits for has come, the task is claimed again, by any worker. Its function runs from the start; the
    journal answers for every step it has been through, and it goes on behind the wait.
    """

    def __init__(self, wait: Wait) -> None:
        super().__init__("the task waits in the store")
        self.wait = wait


class HandedBack(Interruption):
    """The task stops at this step and goes back to the store, because it was paused or the worker has to let go."""

    def __init__(self, pause: str | None = None) -> None:
        super().__init__(pause or "the task was handed back")
        self.pause = pause
        """pause the task as well, for this reason"""


def contained(error: BaseException) -> BaseException:
    """What to raise in place of an `error` of a task's own code that asyncio would end the whole event loop over.

    A task that calls `sys.exit`, or something that does (a command line's `main`), has failed; its neighbours have not.
    """
    if isinstance(error, SystemExit) or (isinstance(error, KeyboardInterrupt) and not is_ctrl_c(error)):
        return RuntimeError(f"the function raised {error!r}")
    return error


def is_ctrl_c(error: BaseException) -> bool:
    """Whether somebody may have pressed Ctrl-C: not where the signal is ignored, as in worker processes."""
    return isinstance(error, KeyboardInterrupt) and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
