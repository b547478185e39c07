"""Asking git about a directory that nobody vouches for.

A repository carries its own configuration, and git runs programs that configuration names: a file system monitor, an
external diff, a text converter, a signature checker, a transport that fetches a missing object. A review must not run
what it reviews, so each of these is switched off here by name, hooks and network included, and every call has a time
limit. The person's own settings stay in force, because a person may have declared a directory safe there.

Nothing in here changes a repository, and nothing raises because of one: what git could not do is said in `GitAnswer`.
"""

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import msgspec

_CHUNK = 1 << 16
_KEPT_ERRORS = 1 << 16

_SETTINGS = (
    "core.fsmonitor=false",
    f"core.hooksPath={os.devnull}",
    "core.untrackedCache=false",
    "core.quotePath=false",
    "log.showSignature=false",
    "log.follow=false",
    "log.mailmap=true",
    "i18n.logOutputEncoding=UTF-8",
    "protocol.allow=never",
    "color.ui=false",
    "safe.bareRepository=explicit",
)

# These say where a person's own settings are and how far git may look for a repository. Every other GIT_ variable is
# taken out: a program started by a hook would otherwise be pointed at the hook's repository, not at the one asked for.
_KEPT_VARIABLES = frozenset({"GIT_CONFIG_GLOBAL", "GIT_CEILING_DIRECTORIES", "GIT_DISCOVERY_ACROSS_FILESYSTEM"})

_VARIABLES = {
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}


class GitAnswer(msgspec.Struct, kw_only=True):
    """How a call of git ended. `complete` is true when it ran to its end and reported success."""

    complete: bool = False
    missing: bool = False
    timed_out: bool = False
    errors: str = ""

    def sentence(self, root: Path) -> str:
        """Return one sentence that says why the answer is not complete."""
        if self.missing:
            return "git is not installed here, or not on the PATH."
        if self.timed_out:
            return "git took longer than the time it was given."
        if "dubious ownership" in self.errors:
            return (
                "git refuses to read this repository because it belongs to another user; if you trust it, run"
                f" `git config --global --add safe.directory {root}`."
            )
        if "not a git repository" in self.errors or "cannot use bare repository" in self.errors:
            return "The directory is not in a git work tree."
        if "does not have any commits" in self.errors or "bad revision 'HEAD'" in self.errors:
            return "The repository has no commits yet."
        told = [line for line in self.errors.splitlines() if line.startswith(("fatal:", "error:"))]
        reason = told[0].partition(":")[2].strip()[:300].rstrip(".") if told else "it ended without saying why"
        return f"git could not answer: {reason}."


def ask(root: Path, *arguments: str, seconds: float) -> tuple[GitAnswer, str]:
    """Run git in `root` for at most `seconds`; return how it ended and what it printed, without the last newline."""
    with stream(root, *arguments, seconds=seconds) as (answer, chunks):
        printed = b"".join(chunks)
    return answer, printed.decode("utf-8", "replace").rstrip("\n")


@contextmanager
def stream(root: Path, *arguments: str, seconds: float) -> Iterator[tuple[GitAnswer, Iterator[bytes]]]:
    """Run git in `root`; yield its answer, which is filled in when the context is left, and its output in chunks.

    Leaving the context before the output has been read to its end stops git. After `seconds` git is killed, the chunks
    end, and the answer says so; what was read until then is good.
    """
    answer = GitAnswer()
    settings = [word for setting in _SETTINGS for word in ("-c", setting)]
    try:
        process = subprocess.Popen(
            ["git", "--no-pager", *settings, *arguments],
            cwd=root,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except OSError as error:
        answer.missing = shutil.which("git") is None
        answer.errors = f"fatal: {error}"
        yield answer, iter(())
        return
    assert process.stdout is not None
    assert process.stderr is not None

    def stop_when_overdue() -> None:
        if process.poll() is None:
            answer.timed_out = True
            process.kill()

    errors: list[bytes] = []
    reader = threading.Thread(target=_read_errors, args=(process.stderr, errors), daemon=True)
    reader.start()
    clock = threading.Timer(seconds, stop_when_overdue)
    clock.daemon = True
    clock.start()
    chunks = _Chunks(process.stdout)
    try:
        yield answer, chunks
    finally:
        if not chunks.ended:
            process.kill()
        process.wait()
        clock.cancel()
        reader.join()
        process.stdout.close()
        process.stderr.close()
        answer.errors = b"".join(errors).decode("utf-8", "replace")
        answer.complete = process.returncode == 0 and not answer.timed_out


class _Chunks(Iterator[bytes]):
    """The output of a running program in chunks; `ended` once there is no more of it."""

    def __init__(self, output: IO[bytes]) -> None:
        self._output = output.fileno()
        self.ended = False

    def __next__(self) -> bytes:
        chunk = os.read(self._output, _CHUNK)
        if not chunk:
            self.ended = True
            raise StopIteration
        return chunk


def _read_errors(source: IO[bytes], kept: list[bytes]) -> None:
    # All of it is read, or git would stop at a full pipe; only the beginning is kept.
    room = _KEPT_ERRORS
    for line in source:
        if room > 0:
            kept.append(line[:room])
            room -= len(line)


def _environment() -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_") or name in _KEPT_VARIABLES}
    return {**own, **_VARIABLES}
