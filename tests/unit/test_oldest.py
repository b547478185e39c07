"""The lower bounds in pyproject.toml, which `make oldest` tests; here only whether they can be what is installed."""

from importlib.metadata import PackageNotFoundError, version

import pytest

from tests.oldest import oldest


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(each) for each in text.split(".") if each.isdecimal())


@pytest.mark.parametrize("line", list(oldest()))
def test_what_is_installed_is_not_older(line: str) -> None:
    name, _, bound = line.partition("==")
    try:
        installed = version(name)
    except PackageNotFoundError:  # for another platform, or another Python
        return
    assert _numbers(installed) >= _numbers(bound)
