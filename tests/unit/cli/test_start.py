"""`tenuto --help` answers at once: what only some commands need is imported by those commands."""

import subprocess
import sys


def test_the_program_starts_without_what_its_commands_need() -> None:
    code = "import sys, tenuto.cli.app; print(*sorted(sys.modules), sep='\\n')"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    slow = {
        "apsw",
        "asyncio",
        "cloudpickle",
        "msgspec",
        "pydantic",
        "rich",
        "structlog",
        "tenuto.client",
        "tenuto.stores",
    }
    assert slow.isdisjoint(loaded)
