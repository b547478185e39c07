"""Where the library's log goes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog
from structlog.testing import LogCapture

from tenuto.observability.logging import logger

log = logger("tenuto.test")


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()


def test_unless_configured_warnings_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    log.info("quiet")
    log.bind(task="a").warning("the store does not answer", seconds=3)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "the store does not answer" in said.err
    assert "task=a" in said.err


def test_a_programs_own_configuration_holds_also_when_it_comes_later() -> None:
    captured = LogCapture()
    structlog.configure(processors=[captured])
    log.info("heard", n=1)
    assert captured.entries == [{"event": "heard", "n": 1, "log_level": "info"}]
