"""The command line: `tenuto`. One file per group of commands; no logic that the Python door lacks.

What a command needs is imported inside it, so that `tenuto --help` answers at once.
"""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """The program `tenuto`. Before it has begun and after it has ended, Ctrl-C simply ends it, with exit code 130."""
    import os
    import signal

    def end(number: int, frame: object) -> None:  # noqa: ARG001  # the signature of a handler
        os._exit(128 + number)

    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # else it is ignored, as in the background of a shell script
        signal.signal(signal.SIGINT, end)

    import sys

    from tenuto.cli.app import run

    try:
        signal.signal(signal.SIGINT, before)
        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, end)
    sys.exit(code)
