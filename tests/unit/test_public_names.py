"""What `import tenuto` offers: every name is there, typed as it is at runtime, and none costs anything until used."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import tenuto


def _typed_names() -> dict[str, str]:
    """The names that type checkers see, with the modules they come from."""
    tree = ast.parse(Path(tenuto.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom) and node.module != "typing"]
    return {alias.name: node.module or "" for node in imports for alias in node.names}


@pytest.mark.parametrize("name", tenuto.__all__)
def test_every_public_name_can_be_used(name: str) -> None:
    assert getattr(tenuto, name) is not None


def test_type_checkers_see_what_there_is_at_runtime() -> None:
    assert {**_typed_names(), "__version__": ""}.keys() == set(tenuto.__all__)
    for name, module in _typed_names().items():
        assert getattr(tenuto, name) is getattr(sys.modules[module], name)
    assert set(tenuto.__all__) <= set(dir(tenuto))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'tenuto' has no attribute 'Orchestra'"):
        _ = tenuto.Orchestra


def test_a_plain_installation_has_every_name_that_needs_no_extra() -> None:
    program = """
from importlib.machinery import PathFinder
installed = PathFinder.find_spec
def plain(name, *where):
    return None if name.partition(".")[0] == "pydantic_ai" else installed(name, *where)
PathFinder.find_spec = plain
from tenuto import *
print(Orchestrator.__name__)
import tenuto
try:
    tenuto.Agent
except tenuto.errors.MissingExtra as error:
    print(error.extra)
"""
    shown = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=False)
    assert (shown.stdout, shown.stderr) == ("Orchestrator\nllm\n", "")


def test_importing_loads_nothing_that_is_not_used() -> None:
    program = (
        "import sys, tenuto; print(sorted(m for m in sys.modules if m.split('.')[0] not in sys.stdlib_module_names))"
    )
    shown = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True).stdout
    loaded = {
        name for name in ast.literal_eval(shown) if name.partition(".")[0] in ("tenuto", "msgspec", "apsw", "rich")
    }
    assert loaded == {"tenuto", "tenuto._version"}
