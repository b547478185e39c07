"""The model keeps its invariants whatever is asked of it, and every engine does what the model does.

The default run is short. `TENUTO_PROPERTY_EXAMPLES` and `TENUTO_PROPERTY_STEPS` make it longer; a failure prints the
steps that led to it, and is tried again first by the next run (`.hypothesis`).
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.conformance.engines import ENGINES, Engine
from tests.property.machine import Lockstep

EXAMPLES = int(os.environ.get("TENUTO_PROPERTY_EXAMPLES", "15"))
STEPS = int(os.environ.get("TENUTO_PROPERTY_STEPS", "30"))
LONG = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)

pytestmark = pytest.mark.timeout(900 + EXAMPLES * STEPS)  # a failure is made small before it is told


def drive(engine: Engine | None, how: settings) -> None:
    class Beside(Lockstep):
        def __init__(self) -> None:
            super().__init__(engine)

    run_state_machine_as_test(Beside, settings=how)


def test_the_model_keeps_its_invariants_and_everything_ends() -> None:
    drive(None, settings(LONG, max_examples=EXAMPLES * 4))


@pytest.mark.parametrize(
    "engine", [engine for engine in ENGINES.values() if engine.name != "memory"], ids=lambda e: e.name
)
def test_the_engine_does_what_the_model_does(engine: Engine) -> None:
    drive(engine, LONG)
