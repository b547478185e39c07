"""Every error that Tenuto raises on purpose, in one small hierarchy under `TenutoError`.

Each class says what kind of thing went wrong and carries what a program needs in order to act on it. The
sentence for people is written where the error is raised, because only that place knows the task, the agent or
the file; nothing here makes up a message. Where a built-in error means the same (`ValueError`, `LookupError`,
`TimeoutError`, `ImportError`), ours is one of those too, so that code which has never heard of Tenuto still
catches it.

What a task's own code raises is not in here: it is kept with the attempt, and reaches a waiter inside
`TaskFailed`.
"""

from typing import Any, Protocol


def _restore(kind: type["TenutoError"], args: tuple[object, ...], attributes: dict[str, Any]) -> "TenutoError":
    # Past the class's own `__init__`, to the built-in one; OSError, alone, takes its arguments in `__new__`.
    error = kind.__new__(kind, *args)
    super(TenutoError, error).__init__(*args)
    error.__dict__.update(attributes)
    return error


class TenutoError(Exception):
    """The base of all errors Tenuto raises on purpose: `except TenutoError` catches them and no others."""

    retryable: bool = True
    """whether a task that failed with it is worth another attempt, as far as its retry policy grants one"""
    retry_after: float | None = None
    """seconds before which another attempt is pointless"""

    def __reduce__(self) -> tuple[Any, ...]:
        # By default an exception is pickled as a call of its class with `args` alone. Where a keyword is
        # required, that call fails in the process that receives it, and breaks a pool or looks like a hang.
        return _restore, (type(self), self.args, self.__dict__)


class InvalidInput(TenutoError, ValueError):
    """An argument, a setting or a part of a document is not acceptable. Nothing was changed.

    The message names the field as the caller wrote it: `max_retries`, `edges`, `--dag`.
    """


class NeedsSql(InvalidInput):
    """The store's engine has no SQL, which this needs. It never will: a task that raises it is not retried."""


class NotFound(TenutoError, LookupError):
    """Nothing is known under this id or name. A finished task is forgotten when its time to live ends."""


class Conflict(TenutoError):
    """What is asked for contradicts what is stored, for example the same task id with different content."""


class AlreadyFinished(Conflict):
    """The task has ended, so there is nothing left to act on. `state` is its final state, in lower case."""

    def __init__(self, message: str, *, state: str) -> None:
        super().__init__(message)
        self.state = state


class Unstorable(TenutoError, ValueError):
    """A payload, a result or another value has no stored form: its type, or something in it, has none. Trying again
    would not help, and a model may be paid for it: the task fails."""

    retryable = False


class TooLarge(Unstorable):
    """A value is larger than the limit for values of its kind."""


class StoreError(TenutoError):
    """The store could not do what was asked. Nothing was stored, unless a subclass says otherwise."""


class StoreBusy(StoreError):
    """Others kept the store locked for longer than we were ready to wait. Trying again is safe."""


class StoreFull(StoreError):
    """There is no room: a full disk, a quota, a memory limit. Work goes on once there is room again."""


class StoreReadOnly(StoreError):
    """The store can be read but not written: file permissions, a read-only mount, a replica."""


class StoreCorrupt(StoreError):
    """The content is damaged, or is no Tenuto store's. It is refused, never repaired or overwritten."""


class StoreTooNew(StoreError):
    """The store was written by a newer Tenuto, whose layout this one does not know. It is left as it is."""


class StoreUnavailable(StoreError):
    """The store cannot be reached, or went away during a request.

    In the second case the request may have been carried out. Made again with the same ids, it is done once.
    """


class StoreGone(StoreError):
    """The store's file was removed, or another put in its place, while it was in use. What is done goes nowhere.

    Nothing is written to either file any more, and no new one is made; opening the store again uses what is there.
    """


class StoreClosed(StoreError):
    """This program had closed the store before it made the request."""


class LeaseLost(TenutoError):
    """This worker no longer holds the task: its lease ended, or the task was cancelled or claimed by another.

    Whatever this attempt still sends is refused. It should stop at once.
    """


class JournalMismatch(TenutoError):
    """The program asks for other steps than its journal holds: its code was changed before the task was done.

    Nothing runs. The task is paused until the code is put back or the change is declared.
    """


class StepUnknown(TenutoError):
    """A step that may run only once was in flight when its worker died, and its effect is not known.

    `step` is the step's key, to be given to `resolve_step` with what a person found out.
    """

    def __init__(self, message: str, *, step: str) -> None:
        super().__init__(message)
        self.step = step


class ErrorRecord(Protocol):
    """What a reader of `TaskFailed` can rely on in the record that is kept of a failed attempt."""

    @property
    def type(self) -> str:
        """The name of the exception's class."""

    @property
    def message(self) -> str:
        """The exception's own text."""

    @property
    def traceback(self) -> str:
        """The last lines of the traceback; empty where there was none."""


class StepFailed(TenutoError):
    """A step failed in an earlier attempt, and its journal says so.

    Raised in place of the step's own exception when its class cannot be found any more. `error` is the record.
    """

    def __init__(self, message: str, *, error: ErrorRecord) -> None:
        super().__init__(message)
        self.error = error


class TimeLimit(TenutoError, TimeoutError):
    """A task or a step took longer than it was allowed to, and was stopped."""


class InvalidPayload(InvalidInput):
    """The payload does not fit what the agent's function takes. Trying again would not help: the task fails."""


class ModelError(TenutoError):
    """A model did not answer, or not usably. `status` is the HTTP status, where there was one.

    Retryable are what passes by itself (a limit, an overload, a broken connection); not a wrong key, an unknown model,
    a conversation that is too long.
    """

    def __init__(
        self, message: str, *, status: int | None = None, retryable: bool = True, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retryable = retryable
        self.retry_after = retry_after


class BudgetExceeded(TenutoError):
    """A budget has no room for the next call. `scope` is the budget's, such as `owner:ann`."""

    retryable = False

    def __init__(self, message: str, *, scope: str) -> None:
        super().__init__(message)
        self.scope = scope


class AgentStuck(TenutoError):
    """An agent that works in turns cannot come to an end: it used up its turns, or its output never fits."""

    retryable = False


class TaskFailed(TenutoError):
    """The task whose result was waited for has failed. `error` is the record of its last failed attempt."""

    def __init__(self, message: str, *, error: ErrorRecord) -> None:
        super().__init__(message)
        self.error = error


class TaskCancelled(TenutoError):
    """The task whose result was waited for was cancelled. `reason` is the one stored with it."""

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class WaitTimeout(TenutoError, TimeoutError):
    """The caller has waited for as long as it wanted to. What it waited for goes on all the same."""


class Unreachable(TenutoError, ConnectionError):
    """Nobody answers at an address, no orchestrator and no server of tools: none listens there, or it took too long."""


class Forbidden(TenutoError, PermissionError):
    """The orchestrator understood the command and does not allow it: a whitelist, or a token."""


class AgentFailed(TenutoError):
    """A service agent has failed for good without which its orchestrator is of no use."""


class MissingExtra(TenutoError, ImportError):
    """An optional part of Tenuto is not installed. `extra` is what to install, as in `tenuto[redis]`."""

    def __init__(self, message: str, *, extra: str) -> None:
        super().__init__(message)
        self.extra = extra
