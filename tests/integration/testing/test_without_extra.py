"""Where the extra is missing, one sentence says which; what needs none of it works."""

from __future__ import annotations

import subprocess
import sys

import pytest

import tenuto.testing
from tenuto.errors import MissingExtra


def _run(program: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-c", program]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("module", "names"), [("h11", ["Endpoint"]), ("pydantic_ai", ["ScriptedModel"])], ids=["h11", "pydantic_ai"]
)
def test_what_needs_the_extra_names_it(module: str, names: list[str]) -> None:
    for name in names:
        program = f"import sys; sys.modules[{module!r}] = None\nfrom tenuto.testing import {name}"
        last = _run(program).stderr.splitlines()[-1]
        assert last.startswith(f"{MissingExtra.__module__}.MissingExtra: the ")
        assert last.endswith(": install tenuto[llm]")


def test_clock_scripts_and_the_endpoints_process_need_no_extra() -> None:
    program = "import sys; sys.modules['h11'] = sys.modules['pydantic_ai'] = None\n"
    done = _run(program + "from tenuto.testing import Call, EndpointProcess, Reply, Rule, VirtualClock; VirtualClock()")
    assert done.stderr == ""


def test_nothing_is_imported_before_it_is_used() -> None:
    program = "import sys, tenuto.testing; print({m.split('.')[0] for m in sys.modules} - sys.stdlib_module_names)"
    loaded = _run(program).stdout
    assert "tenuto" in loaded
    assert not any(name in loaded for name in ("msgspec", "h11", "pydantic_ai", "openai"))


@pytest.mark.parametrize("name", tenuto.testing.__all__)
def test_every_public_name_can_be_used(name: str) -> None:
    assert getattr(tenuto.testing, name) is not None
    assert name in dir(tenuto.testing)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"module 'tenuto\.testing' has no attribute 'Server'"):
        _ = tenuto.testing.Server
