"""The error hierarchy: what catches what, and that errors survive the way from one process to another."""

import copy
import pickle
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import pytest

from tenuto import errors
from tenuto.errors import TenutoError


@dataclass(frozen=True)
class Record:
    """The record of a failed attempt, as `TaskFailed` carries it."""

    type: str
    message: str
    traceback: str


def subclasses(kind: type[TenutoError]) -> Iterator[type[TenutoError]]:
    for child in kind.__subclasses__():
        yield child
        yield from subclasses(child)


SENTENCE = "Task 'task-1' is done: retry it to run it again."
WITH_ATTRIBUTES: dict[type[TenutoError], TenutoError] = {
    errors.AlreadyFinished: errors.AlreadyFinished(SENTENCE, state="done"),
    errors.StepUnknown: errors.StepUnknown(SENTENCE, step="charge#0"),
    errors.StepFailed: errors.StepFailed(SENTENCE, error=Record("OSError", "no room", "")),
    errors.TaskFailed: errors.TaskFailed(SENTENCE, error=Record("OSError", "no room", "")),
    errors.TaskCancelled: errors.TaskCancelled(SENTENCE, reason="by a person"),
    errors.BudgetExceeded: errors.BudgetExceeded(SENTENCE, scope="owner:ann"),
    errors.MissingExtra: errors.MissingExtra(SENTENCE, extra="redis"),
}
PUBLIC = {kind for kind in subclasses(TenutoError) if kind.__module__ == errors.__name__}
KINDS = sorted(PUBLIC, key=lambda kind: kind.__name__)


def name(kind: type) -> str:
    return kind.__name__


def example(kind: type[TenutoError]) -> TenutoError:
    return WITH_ATTRIBUTES.get(kind) or kind(SENTENCE)


@pytest.mark.parametrize("kind", KINDS, ids=name)
def test_an_error_arrives_whole_in_another_process(kind: type[TenutoError]) -> None:
    # Given an error with its sentence and its attributes
    error = example(kind)
    error.add_note("seen while submitting")

    # When it is pickled and read again, and when it is copied
    for arrived in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        # Then it is the same error: class, sentence, attributes and notes
        assert type(arrived) is kind
        assert str(arrived) == SENTENCE
        assert arrived.args == (SENTENCE,)
        assert vars(arrived) == vars(error)


def act_on_a_finished_task() -> None:
    raise errors.AlreadyFinished(SENTENCE, state="done")


def test_an_error_raised_in_a_worker_process_reaches_its_caller() -> None:
    # Given a process of its own
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        # When a call in there raises an error that has a required attribute
        raised = pool.submit(act_on_a_finished_task).exception(timeout=60)

    # Then the caller gets this error, with the attribute
    assert isinstance(raised, errors.AlreadyFinished)
    assert raised.state == "done"


@pytest.mark.parametrize(
    ("kind", "base"),
    [
        (errors.InvalidInput, ValueError),
        (errors.Unstorable, ValueError),
        (errors.NotFound, LookupError),
        (errors.WaitTimeout, TimeoutError),
        (errors.MissingExtra, ImportError),
        (errors.AlreadyFinished, errors.Conflict),
        (errors.TooLarge, errors.Unstorable),
    ],
    ids=name,
)
def test_code_that_knows_only_the_wider_error_catches_ours(kind: type[TenutoError], base: type[Exception]) -> None:
    # When one of our errors is raised, then a handler for the wider error gets it
    with pytest.raises(base, match="Task 'task-1'"):
        raise example(kind)


def test_store_errors_are_caught_together_and_apart_from_others() -> None:
    # Given the errors whose names begin with Store
    named = {kind for kind in KINDS if kind.__name__.startswith("Store")}

    # Then these, and no others, are store errors
    assert named == {errors.StoreError, *subclasses(errors.StoreError)} & PUBLIC


def test_every_error_says_what_it_means() -> None:
    # Given every class of the hierarchy, then each has a docstring of its own
    hierarchy: list[type[TenutoError]] = [TenutoError, *KINDS]
    assert [name(kind) for kind in hierarchy if not vars(kind).get("__doc__")] == []
