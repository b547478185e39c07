"""The ZeroMQ socket on which commands arrive, bound so that only those who may connect can.

A Unix socket is made by us and handed to ZeroMQ: nobody can connect before `listen`, and by then only its owner may. A
file that a killed orchestrator has left is replaced, one that somebody listens on never is; ZeroMQ itself would take
either away.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import zmq

from tenuto.errors import Conflict, InvalidInput
from tenuto.supervisor.addresses import Address
from tenuto.supervisor.inherited import not_inherited
from tenuto.supervisor.requests import LARGEST_REQUEST
from tenuto.supervisor.run_directory import short

__all__ = ["CommandSocket"]

_BACKLOG = 1_024
_DESCRIPTORS = 65_536
_HANDSHAKE = 5_000
"""Milliseconds in which a connection must speak ZeroMQ's protocol."""
_HEARTBEAT = 10_000
"""Milliseconds after which a silent connection is asked whether it lives; as many again to answer."""
_LINGER = 1_000
"""Milliseconds in which answers still leave when the socket is closed."""
_QUEUED = 200
"""Messages that wait for one client in either direction. Whoever sends commands and reads no answers loses some."""


class CommandSocket:
    """A bound ROUTER socket. Made by one thread, then used by one thread."""

    def __init__(self, address: Address) -> None:
        """Raises `Conflict` when somebody listens there already, `InvalidInput` when nobody could."""
        _make_room()
        self._context = zmq.Context()
        self._path: Path | None = None
        self._inode: tuple[int, int] | None = None
        self._listener: socket.socket | None = None
        self.router: zmq.Socket[bytes] = self._context.socket(zmq.ROUTER)
        try:
            self._configure()
            if address.path is not None:
                self._bind_file(address.path)
                self.url = address.url
            else:
                self._bind_port(address)
                self.url = self.router.getsockopt_string(zmq.LAST_ENDPOINT)
        except BaseException:
            self.close()
            raise

    def _configure(self) -> None:
        for option, value in (
            (zmq.MAXMSGSIZE, LARGEST_REQUEST),
            (zmq.HANDSHAKE_IVL, _HANDSHAKE),
            (zmq.HEARTBEAT_IVL, _HEARTBEAT),
            (zmq.HEARTBEAT_TIMEOUT, _HEARTBEAT),
            (zmq.SNDHWM, _QUEUED),
            (zmq.RCVHWM, _QUEUED),
            (zmq.BACKLOG, _BACKLOG),
            (zmq.LINGER, _LINGER),
        ):
            self.router.setsockopt(option, value)

    def _bind_port(self, address: Address) -> None:
        host = {"*": "0.0.0.0", "localhost": "127.0.0.1"}.get(address.host, address.host)  # noqa: S104 - asked for
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            listener = socket.create_server((host, address.port), family=family, backlog=_BACKLOG)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise Conflict(f"{address.url} is in use already: choose another command_zmq_address") from None
            raise InvalidInput(f"nobody can listen on {address.url}: {error.strerror or error}") from None
        if family == socket.AF_INET6:
            self.router.setsockopt(zmq.IPV6, 1)
            host = f"[{host}]"
        self._listen(listener, f"tcp://{host}:{listener.getsockname()[1]}")

    def _listen(self, listener: socket.socket, url: str) -> None:
        """From now on ZeroMQ accepts on `listener`, and closes it."""
        listener.setblocking(False)
        self._listener = not_inherited(listener)
        self.router.setsockopt(zmq.USE_FD, listener.fileno())
        self.router.bind(url)

    def _bind_file(self, path: Path) -> None:
        name = short(path)
        with _only_one_at_a_time(path.parent):
            _remove_left_over(name)
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                listener.bind(name)
                self._path = path
                Path(name).chmod(0o600)
                found = Path(name).stat()
                self._inode = (found.st_dev, found.st_ino)
                listener.listen(_BACKLOG)
            except OSError as error:
                listener.close()
                raise InvalidInput(f"no socket can be made at {path}: {error.strerror or error}") from None
        self._listen(listener, f"ipc://{name}")

    def close(self) -> None:
        """Lets answers leave that are on their way, and frees the address."""
        if self._path is not None:
            with contextlib.suppress(OSError):
                found = self._path.stat()
                if (found.st_dev, found.st_ino) == self._inode:  # it is still ours
                    self._path.unlink()
        if self._listener is not None:
            self._listener.detach()
        self.router.close()
        self._context.term()


def _make_room() -> None:
    """Lets this process open as many descriptors as it may: without one for a client, libzmq aborts the program.

    (`ipc_listener.cpp` of libzmq 4.3 takes EMFILE for a bug of its own. The soft limit is mostly 1,024, and each
    agent in a process needs a descriptor as well.)
    """
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@contextlib.contextmanager
def _only_one_at_a_time(directory: Path) -> Iterator[None]:
    """Looking whether a socket is left over and replacing it is one action: another starter must not come between."""
    import fcntl

    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise InvalidInput(f"the command socket's folder {directory} cannot be used: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _remove_left_over(name: str) -> None:
    try:
        mode = Path(name).lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise InvalidInput(f"the command socket {name} cannot be made: {error.strerror or error}") from None
    if not stat.S_ISSOCK(mode):  # connecting to a plain file is refused as well
        raise InvalidInput(f"{name} is in the way, and is no socket: remove it, or name another command_zmq_address")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(name)
        except ConnectionRefusedError:
            Path(name).unlink()
            return
        except (TimeoutError, BlockingIOError):
            pass
        except OSError as error:
            raise InvalidInput(f"{name} is in the way, and cannot be asked: {error.strerror or error}") from None
    raise Conflict(f"an orchestrator listens on {name} already: give this one a name, or another command_zmq_address")
