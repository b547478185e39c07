"""The two kinds of channels: a socket pair to a process, and plain calls inside of one.

On a socket each message is a frame: its length, four bytes, and msgpack. What a program itself sends is pickled into
it, because it may be any object. The orchestrator reads without ever waiting for the rest of a frame: an agent may be
frozen or killed in the middle of one.
"""

from __future__ import annotations

import contextlib
import pickle
import select
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import cloudpickle
import msgspec

from tenuto.errors import InvalidInput
from tenuto.supervisor.messages import Message, MessageKind
from tenuto.supervisor.texts import error_text
from tenuto.workers.portable import dumps

__all__ = ["LocalChannel", "SocketAgentEnd", "SocketOrchestratorEnd", "decoded", "framed"]

_LENGTH = struct.Struct("!I")
_CHUNK = 1 << 16
_MOST_READ = 1 << 20
"""Bytes that one `receive` reads, so that an agent that floods its channel does not keep others waiting."""
_LARGEST = 1 << 28
"""Bytes of a frame; a longer one is no frame of ours."""
_MOST_UNSENT = 1 << 24
"""Bytes that wait for an agent that does not read."""
_MOST_WAITING = 1_000
"""Messages of an agent in a thread that wait for the orchestrator. Then the agent does, as a socket would make it."""
_PATIENCE = 1.0
"""Seconds for which it waits."""

_ENCODER = msgspec.msgpack.Encoder(enc_hook=repr)
_DECODER = msgspec.msgpack.Decoder(Message)


def framed(content: bytes) -> bytes:
    """One frame. Raises `InvalidInput` for what is too long."""
    if len(content) > _LARGEST:
        raise InvalidInput(
            f"a message of {len(content):,} bytes is longer than the {_LARGEST:,} that a channel takes: "
            "write it to a file, and send the file's name"
        )
    return _LENGTH.pack(len(content)) + content


def decoded(frame: bytes) -> Message:
    """The message in `frame`. Raises `ValueError` when it holds none that can be read."""
    try:
        message = _DECODER.decode(frame)
        if message.kind is not MessageKind.MESSAGE:
            return message
        content, fields = cloudpickle.loads(message.content)
        return msgspec.structs.replace(message, content=content, fields=fields)
    except BaseException as error:  # what is unpickled is the program's: `sys.exit` in it must not end the reader
        raise ValueError(f"a message cannot be read: {error_text(error)}") from error


def _encoded(message: Message) -> bytes:
    if message.kind is not MessageKind.MESSAGE:
        return framed(_ENCODER.encode(message))
    said = (message.content, message.fields)
    try:
        content: Any = pickle.dumps(said, pickle.HIGHEST_PROTOCOL)
    except Exception:  # noqa: BLE001 - what lives in the main module goes by value
        content = dumps(said)
    return framed(_ENCODER.encode(msgspec.structs.replace(message, content=content, fields={})))


class _Frames:
    """Bytes in, whole frames out."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def add(self, data: bytes) -> None:
        self._bytes += data

    def take(self) -> bytes | None:
        """The next whole frame. Raises `ValueError` when what has come is none."""
        if len(self._bytes) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._bytes)
        if length > _LARGEST:
            raise ValueError(f"a message of {length:,} bytes is too long")
        end = _LENGTH.size + length
        if len(self._bytes) < end:
            return None
        frame = bytes(self._bytes[_LENGTH.size : end])
        del self._bytes[:end]
        return frame


class SocketAgentEnd:
    """An agent's end of a socket."""

    def __init__(self, link: socket.socket) -> None:
        self._socket = link
        self._sending = threading.Lock()
        self._unsent = bytearray()
        self._frames = _Frames()

    def fileno(self) -> int:
        """What to select for reading."""
        return self._socket.fileno()

    def send(self, message: Message) -> None:
        """Sends it; when the orchestrator is gone, it is dropped. Raises what pickling its content raises.

        What a signal handler interrupts by raising is finished by the next call: half a frame would spoil all others.
        """
        frame = _encoded(message)
        with self._sending:
            self._unsent += frame
            try:
                while self._unsent:
                    self._send_some()
            except (OSError, ValueError):  # also when this side was closed meanwhile
                self._unsent.clear()

    def _send_some(self) -> None:
        """Sends what the socket takes at once. All waiting is apart, so that an interrupted wait loses no count."""
        try:
            sent = self._socket.send(memoryview(self._unsent)[:_CHUNK].tobytes(), socket.MSG_DONTWAIT)
        except BlockingIOError:
            select.select([], [self._socket], [])
        else:
            del self._unsent[:sent]

    def receive(self) -> bytes | None:
        """Waits for the next frame; None when the orchestrator is gone. For one thread."""
        while (frame := self._frames.take()) is None:
            try:
                data = self._socket.recv(_CHUNK)
            except OSError:
                return None
            if not data:
                return None
            self._frames.add(data)
        return frame

    def take(self) -> bytes | None:
        """The next frame of those that have come already; None when there is none."""
        return self._frames.take()

    def close(self) -> None:
        """Ends the channel from this side."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class SocketOrchestratorEnd:
    """The orchestrator's end of a socket. `receive` is for one thread, `send` and `flush` for one as well."""

    def __init__(self, agent: str, generation: int, link: socket.socket) -> None:
        link.setblocking(False)
        self.agent = agent
        self.generation = generation
        self._socket = link
        self._frames = _Frames()
        self._unsent = bytearray()
        self._ended = False

    def fileno(self) -> int | None:
        """The socket's descriptor."""
        return self._socket.fileno()

    def listen(self, wake: Callable[[], None]) -> None:
        """Nothing to do: a socket is selected."""

    def receive(self) -> Sequence[Message]:
        """See `OrchestratorEnd`. A message that cannot be read becomes an ERROR."""
        found: list[Message] = []
        if self._ended:
            return found
        try:
            open_ = self._read()
            while (frame := self._frames.take()) is not None:
                found.append(self._message(frame))
        except ValueError as error:
            found.append(self._own(MessageKind.ERROR, error_message=str(error), recoverable=False))
            open_ = False
        if not open_:
            self._ended = True
            found.append(self._own(MessageKind.CLOSED))
        return found

    def send(self, message: Message) -> bool:
        """See `OrchestratorEnd`. What the socket does not take at once waits for `flush`."""
        return self.write(_encoded(message))

    def write(self, frame: bytes) -> bool:
        """The same for a frame that is made already."""
        if len(self._unsent) > _MOST_UNSENT:
            return False
        self._unsent += frame
        try:
            self.flush()
        except OSError:
            return False
        return True

    def flush(self) -> bool:
        """Sends what waits; whether nothing does any more. Raises `OSError` when the agent is gone."""
        while self._unsent:
            try:
                sent = self._socket.send(memoryview(self._unsent)[:_MOST_READ].tobytes())
            except BlockingIOError:
                return False
            del self._unsent[:sent]
        return True

    def close(self) -> None:
        """See `OrchestratorEnd`."""
        self._ended = True
        self._socket.close()

    def _read(self) -> bool:
        """Reads what is there; whether more may come."""
        count = 0
        while count < _MOST_READ:
            try:
                data = self._socket.recv(_CHUNK)
            except BlockingIOError:
                return True
            except OSError:
                return False
            if not data:
                return False
            count += len(data)
            self._frames.add(data)
        return True

    def _message(self, frame: bytes) -> Message:
        try:
            return decoded(frame)
        except ValueError as error:
            return self._own(MessageKind.ERROR, error_message=str(error), recoverable=True)

    def _own(self, kind: MessageKind, **fields: Any) -> Message:
        return Message(kind=kind, agent=self.agent, generation=self.generation, fields=fields)


class LocalChannel:
    """Both ends of a channel within one process. Objects go as they are."""

    def __init__(self, agent: str, generation: int, deliver: Callable[[Message], None]) -> None:
        """`deliver` takes what the orchestrator sends; it is called by the sender's thread and must not wait."""
        self.agent = agent
        self.generation = generation
        self._deliver = deliver
        self._waiting: deque[Message] = deque()
        self._wake: Callable[[], None] | None = None
        self._closing = threading.Lock()
        self._closed = False
        self._room = threading.Event()

    # -- the agent's end

    def put(self, message: Message) -> None:
        """Sends it to the orchestrator, where many wait for it after a moment; dropped once the channel is closed."""
        if len(self._waiting) >= _MOST_WAITING:
            self._room.clear()
            if len(self._waiting) >= _MOST_WAITING:
                self._room.wait(_PATIENCE)
        with self._closing:
            if self._closed:
                return
            self._closed = message.kind is MessageKind.CLOSED
            self._waiting.append(message)
        if self._wake is not None:
            self._wake()

    def finish(self) -> None:
        """Ends the channel from the agent's side."""
        self.put(Message(kind=MessageKind.CLOSED, agent=self.agent, generation=self.generation))

    # -- the orchestrator's end

    def fileno(self) -> int | None:
        """None: whoever waits is called instead."""
        return None

    def listen(self, wake: Callable[[], None]) -> None:
        """See `OrchestratorEnd`."""
        self._wake = wake
        if self._waiting:
            wake()

    def receive(self) -> Sequence[Message]:
        """See `OrchestratorEnd`."""
        found = [self._waiting.popleft() for _ in range(len(self._waiting))]
        self._room.set()
        return found

    def send(self, message: Message) -> bool:
        """See `OrchestratorEnd`."""
        if self._closed:
            return False
        self._deliver(message)
        return True

    def close(self) -> None:
        """See `OrchestratorEnd`."""
        with self._closing:
            self._closed = True
        self._room.set()
