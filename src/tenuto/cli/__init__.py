"""The command line: `tenuto`. One file per group of commands; no logic that the Python door lacks.

What a command needs is imported inside it, so that `tenuto --help` answers at once.
"""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """The program `tenuto`."""
    import sys

    from tenuto.cli.app import run

    sys.exit(run(sys.argv[1:]))
