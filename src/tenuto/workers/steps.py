"""Running one step: `ctx.step` and `ctx.transaction`.

What becomes of a step that was in flight when its worker died depends on its effect:

    "idempotent"   it runs again (the default)
    "pure"         it has no effect outside and gives the same value for the same arguments, so it may run again, and
                   its value is used before it is durable: it is recorded with whatever is recorded next
    "once"         its intent is recorded before it starts, so that there is only one start. After a crash nobody knows
                   whether it happened: `reconcile` is asked, else the task pauses until a person says so. Where it
                   fails, that is recorded at once; a program that does not catch it has failed, and is not tried again

Each step has an idempotency key, the same in every attempt; a function with a parameter `idempotency_key` gets it.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NoReturn, TypeAlias

import msgspec

from tenuto.errors import InvalidInput, LeaseLost, StepUnknown, TimeLimit, Unstorable
from tenuto.tasks.blobs import references
from tenuto.tasks.outcome import Answer, Step, StepState
from tenuto.tasks.retry import RetryPolicy, Verdict
from tenuto.tasks.task import ErrorRecord
from tenuto.tasks.values import encode
from tenuto.workers.annotations import hints_of
from tenuto.workers.failures import class_of, describe, on_record, restored
from tenuto.workers.interruption import contained
from tenuto.workers.journal import Journal
from tenuto.workers.scopes import Place

__all__ = ["Effect", "StepCall", "idempotency_key", "run_at", "run_step", "run_transaction"]

Effect: TypeAlias = Literal["idempotent", "pure", "once"]


@dataclass(frozen=True, slots=True)
class StepCall:
    """A step as the program asks for it: see `Context.step`."""

    name: str
    fn: Callable[..., Any]
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] | None = None
    effect: Effect = "idempotent"
    reconcile: Callable[[str], Any] | None = None
    type: Any = None
    retry: RetryPolicy | None = None
    timeout: float | None = None
    early: bool = False
    """nothing is begun on the strength of its value before something else is recorded: see `Journal`, invariant 1"""

    def check(self) -> None:
        """Raises `InvalidInput` when the parts do not go together."""
        if not callable(self.fn):
            raise InvalidInput(f"step {self.name!r} needs a function to call, not {type(self.fn).__name__}")
        if self.effect not in ("idempotent", "pure", "once"):
            raise InvalidInput(f"step {self.name!r}: effect must be idempotent, pure or once, not {self.effect!r}")
        if self.effect == "once" and self.retry is not None:
            raise InvalidInput(f"step {self.name!r} may run only once: it cannot have a retry policy")
        if self.reconcile is not None and self.effect != "once":
            raise InvalidInput(f"step {self.name!r}: reconcile is only asked about steps with effect='once'")
        if self.timeout is not None and not self.timeout > 0:
            raise InvalidInput(f"step {self.name!r}: timeout must be more than 0 seconds, not {self.timeout!r}")


async def run_step(journal: Journal, call: StepCall) -> Any:
    """The recorded value of the step; runs it when there is none."""
    call.check()
    place, recorded = journal.enter(call.name)
    try:
        return await run_at(journal, place, recorded, call)
    finally:
        place.leave()


async def run_at(journal: Journal, place: Place, recorded: Step | None, call: StepCall) -> Any:
    """The same for a step whose place, and what was recorded there, are known."""
    if recorded is not None and recorded.state is StepState.STARTED and call.effect == "once":
        return await _reconciled(journal, place, call)
    if recorded is None or recorded.state is StepState.STARTED:
        return await _run(journal, place, call)
    return await _replay(journal, recorded, call)


async def _replay(journal: Journal, recorded: Step, call: StepCall) -> Any:
    if recorded.state is StepState.FAILED:
        where = None if recorded.value is None else msgspec.json.decode(recorded.value)
        raise on_record(restored(recorded.key, recorded.error, where), journal.lease.task_id, recorded.key)
    return await _value(journal, recorded, call)


async def _value(journal: Journal, step: Step, call: StepCall) -> Any:
    if call.type is not None:
        return await journal.value(step, call.type)
    note = _returns(call.fn)
    if note is not Any:
        try:
            return await journal.value(step, note)
        except (Unstorable, TypeError):  # it does not return what it says, or nothing that can be read back
            return await journal.value(step)
    return await journal.value(step)


def _returns(fn: Callable[..., Any]) -> Any:
    """The annotated return type, `Any` where there is none."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    if "return" not in getattr(fn, "__annotations__", {}):
        return Any
    note = hints_of(fn).get("return", Any)
    return Any if note is type(None) else note


async def _run(journal: Journal, place: Place, call: StepCall) -> Any:
    if call.effect == "once":
        await journal.commit(place.scope, (Step(place.key, place.position, StepState.STARTED),))
    else:
        await journal.outlive(place.scope)  # first: nothing may be done on the strength of a failure that is forgotten
    try:
        result = await _attempts(journal, place, call)
    except Exception as error:
        await _failed(journal, place, call, error)
        raise
    step = await journal.settle(place, result, wait=call.effect != "pure", early=call.early)
    return await _value(journal, step, call)


async def _failed(journal: Journal, place: Place, call: StepCall, error: Exception) -> None:
    """Keeps the failure until the program goes on; of a step that runs only once, at once."""
    step = Step(place.key, place.position, StepState.FAILED, value=class_of(error), error=describe(error))
    once = call.effect == "once"
    if journal.halt is None or (once and not isinstance(journal.halt, LeaseLost)):
        place.scope.failures.append(step)
        if once:
            await journal.outlive(place.scope)
            on_record(error, journal.lease.task_id, place.key)


async def _attempts(journal: Journal, place: Place, call: StepCall) -> Any:
    failures = 0
    while True:
        try:
            return await _limited(journal, place, call)
        except Exception as error:
            failures += 1
            policy = call.retry
            if policy is None or failures > policy.max_retries or policy.verdict(error) is Verdict.FATAL:
                raise
            delay = policy.delay(f"{journal.lease.task_id}:{place.key}", journal.lease.attempt, failures)
        await asyncio.sleep(delay / 1000)
        journal.check()


async def _limited(journal: Journal, place: Place, call: StepCall) -> Any:
    if call.timeout is None:
        return await _called(journal, place, call)
    limit = asyncio.timeout(call.timeout)
    try:
        async with limit:
            return await _called(journal, place, call)
    except TimeoutError:
        if not limit.expired():
            raise
        raise TimeLimit(f"step {place.key!r} took longer than its time limit of {call.timeout:g} s") from None


async def _called(journal: Journal, place: Place, call: StepCall) -> Any:
    kwargs = dict(call.kwargs or {})
    if "idempotency_key" not in kwargs and _wants_key(call.fn):
        kwargs["idempotency_key"] = idempotency_key(journal, place)
    try:
        if inspect.iscoroutinefunction(call.fn):
            return await call.fn(*call.args, **kwargs)
        result = await journal.services.threads.run(functools.partial(call.fn, *call.args, **kwargs))
        return await result if inspect.isawaitable(result) else result
    except (SystemExit, KeyboardInterrupt) as error:
        raise contained(error) from error


def idempotency_key(journal: Journal, place: Place) -> str:
    """The same in every attempt, another one when the task was started over with an empty journal."""
    epoch = journal.lease.epoch
    return f"{journal.lease.task_id}:{place.key}" + (f":{epoch}" if epoch else "")


def _wants_key(fn: Callable[..., Any]) -> bool:
    code = getattr(fn, "__code__", None)
    if code is not None and not hasattr(fn, "__wrapped__"):  # much faster, and so for nearly all functions
        return "idempotency_key" in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    try:
        return "idempotency_key" in inspect.signature(fn).parameters
    except (TypeError, ValueError):  # a built-in without a readable signature
        return False


async def _reconciled(journal: Journal, place: Place, call: StepCall) -> Any:
    """Decides about a step that was started by an attempt which did not live to see its end."""
    verdict = None
    if call.reconcile is not None:
        verdict = call.reconcile(idempotency_key(journal, place))
        verdict = await verdict if inspect.isawaitable(verdict) else verdict
    match verdict:
        case None:
            _unknown(journal, place)
        case "retry":
            return await _run(journal, place, call)
        case ("done", value):
            return await _value(journal, await journal.settle(place, value), call)
        case ("fail", reason):
            error = ErrorRecord("StepFailed", str(reason))
            await journal.commit(place.scope, (Step(place.key, place.position, StepState.FAILED, error=error),))
            raise on_record(restored(place.key, error, None), journal.lease.task_id, place.key)
    raise InvalidInput(
        f"reconcile of step {place.key!r} must return ('done', value), 'retry', ('fail', reason) or None, "
        f"not {verdict!r}"
    )


def _unknown(journal: Journal, place: Place) -> NoReturn:
    journal.halt = StepUnknown(
        f"step {place.key!r} of task {journal.lease.task_id!r} was started and its end is not known: find out whether "
        f"it happened, then resolve_step({journal.lease.task_id!r}, {place.key!r}, 'done', 'retry' or 'fail')",
        step=place.key,
    )
    raise journal.halt


async def run_transaction(journal: Journal, call: StepCall) -> Any:
    """Runs `call.fn(connection, *args)` in a transaction of the engine, which records the step too."""
    call.check()
    place, recorded = journal.enter(call.name)
    try:
        if recorded is not None:
            return await _replay(journal, recorded, call)
        return await _transact(journal, place, call)
    finally:
        place.leave()


async def _transact(journal: Journal, place: Place, call: StepCall) -> Any:
    await journal.outlive(place.scope)
    stored = b""

    def work(connection: Any) -> bytes:
        nonlocal stored
        result = call.fn(connection, *call.args, **(call.kwargs or {}))
        stored = encode(result, f"the value of step {place.key!r}")
        if references(stored):  # what a transaction stores is not divided, so it could be taken for a reference
            raise Unstorable(
                f"the value of step {place.key!r} cannot be stored by a transaction: "
                "values of the forms {'$blob': …} and {'$parts': …} are reserved"
            )
        return stored

    step = Step(place.key, place.position)
    store, hold, lease = journal.services.store, journal.lease.hold, journal.services.lease
    try:
        answer = await store.transact(hold, step, work, lease)
    except Exception as error:
        await _failed(journal, place, call, error)
        raise
    if answer.answer is Answer.INVALID:
        raise InvalidInput(answer.detail or f"the store refused step {place.key!r}")
    journal.grew = True
    journal.hear(answer)
    journal.check()
    return await _value(journal, msgspec.structs.replace(step, value=msgspec.Raw(stored)), call)
