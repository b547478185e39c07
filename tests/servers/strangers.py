"""Addresses of this machine behind which there is no store: something else, or nobody who answers."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

__all__ = ["silent_address", "talker"]

_MOST = 64
"""Connections until the system takes no more for a listener that accepts none."""


@contextlib.contextmanager
def talker(words: bytes) -> Iterator[int]:
    """The port of a program that says `words` to whoever has said something, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_talk, args=(listener, words))
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def _talk(listener: socket.socket, words: bytes) -> None:
    while True:
        try:
            caller, _ = listener.accept()
        except OSError:
            return  # it was shut down
        with caller, contextlib.suppress(OSError):
            caller.recv(1024)
            caller.sendall(words)


@contextlib.contextmanager
def silent_address() -> Iterator[int]:
    """A port that answers to no attempt to connect, as behind a firewall that drops: its queue is full."""
    with contextlib.ExitStack() as held:
        listener = held.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(_MOST):
            caller = held.enter_context(socket.socket())
            caller.settimeout(0.1)
            try:
                caller.connect(listener.getsockname())
            except TimeoutError:
                break
        else:
            raise RuntimeError("the system goes on taking connections")
        yield int(listener.getsockname()[1])
