"""The program of the fork server: a small process that is asked to fork, and whose children become agents.

Starting a Python interpreter and importing what an agent needs takes a tenth of a second; forking a process that has
done so takes a few milliseconds, and the children share its memory. It has a single thread and no main module of the
user's, so that forking it is safe, and it does nothing else: it never reads what the agents are.

    orchestrator ──► server    FORK number, with the descriptor of the agent's channel; SIGNAL and SIGNAL_GROUP number
    server ──► orchestrator    FORKED number pid, REFUSED number errno, SIGNALLED number; ENDED number exit code
                               (negative: a signal)

Every request has its answer: a server that does not answer is frozen.

Each child leads a process group of its own, which ends with it: what it has started itself does not outlive it. When
the socket to the orchestrator closes, the orchestrator is gone, however it died: its agents, whose channels have closed
as well, get `ORPHAN` seconds to end, and are killed then. On Linux the kernel kills them at once if the server dies,
and the server adopts what has left its agent's group (a daemon), which ends with the server.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import gc
import importlib
import os
import selectors
import signal
import socket
import struct
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

__all__ = [
    "ENDED",
    "FORK",
    "FORKED",
    "ORPHAN",
    "RECORD",
    "REFUSED",
    "SIGNAL",
    "SIGNALLED",
    "SIGNAL_GROUP",
    "command",
    "main",
]

RECORD = struct.Struct("!BIi")
"""A request (verb, number of the child, signal) or a reply (kind, number of the child, value)."""
FORK, SIGNAL, SIGNAL_GROUP = 1, 2, 3
FORKED, REFUSED, SIGNALLED, ENDED = 1, 2, 3, 4
ORPHAN = 5.0
"""Seconds that agents have to end when their orchestrator is gone."""
_LATE = 0.5
_GLANCE = 0.005
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


def main(descriptor: int, preload: Sequence[str]) -> None:
    """Serves until the socket `descriptor` closes.

    preload: modules that the children find imported; for `module:function`, that function is called as well.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the orchestrator decides when its agents end
    import tenuto.observability.agent_logs
    import tenuto.supervisor.bootstrap  # noqa: F401 - what every child needs

    for name in preload:
        try:
            module, _, function = name.partition(":")
            found = importlib.import_module(module)
            if function:
                getattr(found, function)()
        except BaseException as error:  # noqa: BLE001 - it only costs time: the agents that need it import it themselves
            sys.stderr.write(f"tenuto: {name} cannot be preloaded: {type(error).__name__}: {error}\n")
        if _has_threads():
            _begin_anew(descriptor, [each for each in preload if each != name], name)
    gc.collect()
    gc.freeze()
    _Server(socket.socket(fileno=descriptor)).serve()


def command(descriptor: int, preload: Sequence[str]) -> list[str]:
    """How the server is started."""
    program = (
        f"import sys; sys.path[:] = {sys.path!r}; "
        f"from tenuto.supervisor.fork_server import main; main({descriptor}, {list(preload)!r})"
    )
    return [sys.executable, "-c", program]


def _has_threads() -> bool:
    """Whether a thread is left. One that has ended is there for a moment more than Python knows of it."""
    end = time.monotonic() + _LATE
    while _threads() > 1:
        if threading.active_count() > 1 or time.monotonic() > end:
            return True
        time.sleep(_GLANCE)
    return False


def _threads() -> int:
    """How many threads this process has, those included that Python does not know of."""
    try:
        return len(list(Path("/proc/self/task").iterdir()))
    except OSError:
        return threading.active_count()


def _begin_anew(descriptor: int, preload: Sequence[str], culprit: str) -> None:
    """A process with threads cannot be forked safely: begins again without the module that has started one."""
    sys.stderr.write(f"tenuto: {culprit} starts a thread when it is imported, so it is not preloaded\n")
    os.set_inheritable(descriptor, True)
    os.execv(sys.executable, command(descriptor, preload))  # noqa: S606 - no shell


class _Server:
    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._wake, self._waker = socket.socketpair()
        self._waker.setblocking(False)
        self._pids: dict[int, int] = {}
        """of each child that has not ended, by its number"""
        self._numbers: dict[int, int] = {}
        """the reverse"""
        self._die = _death_signal()

    def serve(self) -> None:
        signal.signal(signal.SIGCHLD, _nothing)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        with selectors.DefaultSelector() as self._selector:
            self._selector.register(self._control, selectors.EVENT_READ)
            self._selector.register(self._wake, selectors.EVENT_READ)
            while self._once(None):
                pass
            self._selector.unregister(self._control)
            self._bury()

    def _once(self, timeout: float | None) -> bool:
        """Does what there is to do; whether the orchestrator is there."""
        for key, _ in self._selector.select(timeout):
            if key.fileobj is self._wake:
                self._wake.recv(4096)
                self._reap()
            elif not self._request():
                return False
        return True

    def _request(self) -> bool:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._control, RECORD.size, 1, socket.MSG_WAITALL)
        except ConnectionResetError:  # it was killed with replies unread
            return False
        if len(data) < RECORD.size:
            return False
        verb, number, value = RECORD.unpack(data)
        if verb == FORK and descriptors:
            self._fork(number, descriptors[0])
        elif verb == FORK:  # there was no room for the descriptor of its channel
            self._reply(REFUSED, number, errno.EMFILE)
        else:
            pid = self._pids.get(number)
            if pid is not None:
                with contextlib.suppress(OSError):
                    (os.killpg if verb == SIGNAL_GROUP else os.kill)(pid, value)
            self._reply(SIGNALLED, number, 0)
        return True

    def _fork(self, number: int, channel: int) -> None:
        server = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            os.close(channel)
            self._reply(REFUSED, number, error.errno or 0)
            return
        if pid == 0:
            self._become_agent(channel, server)
        with contextlib.suppress(OSError):  # the child does it as well: whoever comes first
            os.setpgid(pid, pid)
        os.close(channel)
        self._pids[number] = pid
        self._numbers[pid] = number
        self._reply(FORKED, number, pid)

    def _become_agent(self, channel: int, server: int) -> None:
        """What a child does; does not return."""
        code = 1
        try:
            with contextlib.suppress(OSError):
                os.setpgid(0, 0)
            self._die(server)
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, _nothing)  # not SIG_IGN, which programs that it starts would inherit
            self._selector.close()
            for each in (self._control, self._wake, self._waker):
                each.close()
            from tenuto.supervisor.bootstrap import serve

            code = serve(channel)
        except BaseException:  # noqa: BLE001 - it must not go on as a second server
            traceback.print_exc()
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code & 0xFF)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            number = self._numbers.pop(pid, None)
            if number is not None:  # else an agent had started it, and it has left its group
                del self._pids[number]
                with contextlib.suppress(OSError):
                    os.killpg(pid, signal.SIGKILL)
                self._reply(ENDED, number, os.waitstatus_to_exitcode(status))

    def _reply(self, kind: int, number: int, value: int) -> None:
        with contextlib.suppress(OSError):  # the orchestrator is gone: found out when reading
            self._control.sendall(RECORD.pack(kind, number, value))

    def _bury(self) -> None:
        """The orchestrator is gone: its agents follow, and then what they had started in other groups."""
        end = time.monotonic() + ORPHAN + _LATE
        while self._pids and (left := end - time.monotonic()) > 0:
            self._once(left)
        for pid in self._pids.values():
            with contextlib.suppress(OSError):
                os.killpg(pid, signal.SIGKILL)
        end = time.monotonic() + _LATE
        while (left_over := _children()) and time.monotonic() < end:
            for pid in left_over:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(_GLANCE)
            self._reap()


def _children() -> list[int]:
    """The children of this process, those included that it has adopted; none where the system does not tell."""
    try:
        return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
    except OSError:
        return []


def _nothing(number: int, frame: object) -> None:
    """Where SIGCHLD goes: it has to have a handler in order to wake the selector. In an agent: SIGINT."""


class _death_signal:  # noqa: N801 - used as a function
    """Asks the kernel to kill the calling process when `parent`, its parent, dies. Nothing where it cannot be asked.

    Making one makes this process the parent of whatever its descendants leave behind.
    """

    def __init__(self) -> None:
        self._prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None
        if self._prctl is not None:
            self._prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def __call__(self, parent: int) -> None:
        if self._prctl is not None:
            self._prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before it could be asked
            os._exit(1)
