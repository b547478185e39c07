"""Hints: telling those who wait that something was committed, in this process and in others.

In this process listeners are simply called. Across processes a hint is a datagram: every process that listens has a
Unix socket in a folder beside the file, and whoever commits sends to all of them, without ever waiting. The first hint
after a quiet time goes out at once; those that follow within a millisecond are put together. A socket that nobody
reads any more is removed by the first who notices. Where sockets cannot be had, there are simply no hints from other
processes: polling is the truth.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from tenuto.stores.base import Hint
from tenuto.stores.listeners import Listeners

__all__ = ["Hints", "hint_folder"]

_SPACING = 0.001
_NEW = 1.0
"""Seconds in which a socket that refuses may be about to hear: its name is there a moment before it is."""
_MOST_NAMED = 256
"""Tasks named in one datagram; beyond that it says that any may be meant."""
_LONGEST_PATH = 100
_LARGEST = 65_536

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Hint)


def hint_folder(path: Path) -> Path:
    """Where the sockets of the store at `path` are: beside it, unless that name is too long for a socket."""
    beside = path.with_name(f"{path.name}-hints")
    if len(os.fsencode(beside)) + 24 <= _LONGEST_PATH:
        return beside
    name = hashlib.blake2b(os.fsencode(path), digest_size=10).hexdigest()
    try:
        return Path(tempfile.gettempdir()) / f"tenuto-{os.getuid()}-{name}"
    except FileNotFoundError:  # it writes a file to find out, and the disk is full: no hints then
        return beside


class Hints:
    """Listeners here, sockets of other processes, and the thread that hears from them."""

    def __init__(self, path: Path) -> None:
        self._folder = hint_folder(path)
        self._name = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._listeners = Listeners()
        self._lock = threading.Lock()
        self._ear: socket.socket | None = None
        self._hearing: threading.Thread | None = None
        self._mouth: socket.socket | None = None
        self._others: list[str] = []
        self._looked = -1
        self._sent = 0.0
        self._pending: Hint | None = None

    # -- hearing

    def open(self) -> None:
        """The store was opened: there is a folder now for the socket of those who listen already."""
        with self._lock:
            if self._listeners and self._ear is None:
                self._open_ear()

    def listen(self, listener: Callable[[Hint], None]) -> Callable[[], None]:
        """Calls `listener` for every hint from now on, from any thread; returns how to stop."""
        with self._lock:
            stop = self._listeners.add(listener)
            if self._ear is None:
                self._open_ear()

        return stop

    def _open_ear(self) -> None:
        ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        if not any(self._bound(ear) for _ in range(3)):  # the last to leave may remove the folder just now
            ear.close()
            return
        self._ear = ear
        self._hearing = threading.Thread(target=self._hear, args=(ear,), name="tenuto-sqlite-hints", daemon=True)
        self._hearing.start()

    def _bound(self, ear: socket.socket) -> bool:
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            if self._folder.stat().st_uid != os.getuid():
                return False
            ear.bind(str(self._folder / self._name))
        except OSError:
            return False
        return True

    def _hear(self, ear: socket.socket) -> None:
        while True:
            try:
                data = ear.recv(_LARGEST)
            except OSError:
                return
            if not data:
                return  # sent by `close`
            try:
                hint = _decoder.decode(data)
            except msgspec.MsgspecError:
                continue
            self._listeners.call(hint)

    # -- telling

    def tell(self, hint: Hint) -> None:
        """Tells everyone here, and the others in `send`. Called by the writer alone, like all that follows."""
        self._listeners.call(hint)
        if self._anyone():
            self._pending = hint if self._pending is None else self._pending | hint

    def send(self) -> float | None:
        """Sends what others were not told yet, unless it is too soon; seconds until then, None where nothing waits."""
        if self._pending is None:
            return None
        wait = self._sent + _SPACING - time.monotonic()
        if wait > 0:
            return wait
        self.flush()
        return None

    def flush(self) -> None:
        """Sends what was put together."""
        hint, self._pending = self._pending, None
        if hint is None:
            return
        if hint.tasks is not None and len(hint.tasks) > _MOST_NAMED:
            hint = Hint(hint.ready, None)
        data = _encoder.encode(hint)
        for name in self._others:
            self._send(name, data)
        self._sent = time.monotonic()

    def _send(self, name: str, data: bytes) -> None:
        if self._mouth is None:
            self._mouth = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._mouth.setblocking(False)
        path = self._folder / name
        try:
            self._mouth.sendto(data, str(path))
        except ConnectionRefusedError:
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > _NEW:
                    path.unlink()  # its process is gone
            self._looked = -1
        except OSError:
            return  # full, or gone: the hint is lost, which is harmless

    def _anyone(self) -> bool:
        """Whether other processes listen. Looked at anew each time: who has begun to listen a moment ago has looked at
        what was stored then, and hears of nothing before it is found here."""
        try:
            changed = self._folder.stat().st_mtime_ns
            if changed != self._looked:
                self._others = [each.name for each in self._folder.iterdir() if each.name != self._name]
                fresh = time.time_ns() - changed < 50_000_000
                self._looked = -1 if fresh else changed  # file times are coarse: look again until it has settled
        except OSError:
            self._others, self._looked = [], -1
        return bool(self._others)

    def close(self) -> None:
        """Stops hearing and telling."""
        self.flush()
        with self._lock:
            if self._ear is not None:
                with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as farewell:
                    farewell.sendto(b"", str(self._folder / self._name))
                with contextlib.suppress(OSError):
                    (self._folder / self._name).unlink()
                with contextlib.suppress(OSError):
                    self._folder.rmdir()  # the last one leaves nothing behind
                if self._hearing is not None and self._hearing is not threading.current_thread():
                    self._hearing.join(1.0)
                self._ear.close()
                self._ear = None
            if self._mouth is not None:
                self._mouth.close()
                self._mouth = None
