"""The run directory: where an orchestrator leaves what others on this machine look for while it lives.

It holds sockets, and notes about processes; a reboot may empty it. It is `TENUTO_RUN_DIR`, else `.tenuto/run` in the
working directory, beside the default store: so a command line that is used in the same folder finds the orchestrator.
Only its owner can enter it.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

from tenuto.errors import InvalidInput
from tenuto.tasks.ids import check_name

__all__ = ["LONGEST_SOCKET_PATH", "made_run_directory", "run_directory", "short", "socket_path"]

LONGEST_SOCKET_PATH = 103
"""Bytes that the path of a Unix socket may have everywhere (Linux takes 107, macOS 103)."""


def run_directory() -> Path:
    """Where it is, whether it exists or not; absolute."""
    return Path(os.environ.get("TENUTO_RUN_DIR") or ".tenuto/run").absolute()


def made_run_directory() -> Path:
    """The run directory, made where there is none. Raises `InvalidInput` when it cannot be made."""
    path = run_directory()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(
            f"the run directory {path} cannot be made: {error.strerror or error}; name another one with TENUTO_RUN_DIR"
        ) from None
    return path


def socket_path(name: str | None = None) -> Path:
    """The command socket of the orchestrator called `name`."""
    return run_directory() / f"{'orchestrator' if name is None else quote(check_name(name, 'name'), safe='')}.sock"


def short(path: Path) -> str:
    """`path` as it is handed to the system, which takes no long ones: relative where that is shorter.

    Raises `InvalidInput` where it is too long even so.
    """
    found = min((str(path), os.path.relpath(path)), key=len)
    if len(os.fsencode(found)) > LONGEST_SOCKET_PATH:
        raise InvalidInput(
            f"the path of the command socket is longer than the {LONGEST_SOCKET_PATH} bytes that systems take: {path}; "
            "name a shorter one, or a short TENUTO_RUN_DIR"
        )
    return found
