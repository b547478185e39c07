"""The program under test, in a fresh folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cli.program import Program


@pytest.fixture
def tenuto(tmp_path: Path) -> Iterator[Program]:
    program = Program(tmp_path)
    try:
        yield program
    finally:
        program.close()
