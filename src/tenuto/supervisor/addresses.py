"""Where an orchestrator takes commands: a Unix socket (`ipc://PATH`) or a TCP port (`tcp://HOST:PORT`)."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from tenuto.errors import InvalidInput

__all__ = ["Address"]


@dataclass(frozen=True)
class Address:
    """One address, read and checked."""

    url: str
    path: Path | None = None
    """of a Unix socket; absolute"""
    host: str = ""
    port: int = 0
    """0: any free one"""

    @classmethod
    def parse(cls, text: str) -> Address:
        """Reads `ipc://PATH`, a plain path, or `tcp://HOST:PORT`. Raises `InvalidInput`."""
        if not isinstance(text, str):
            raise InvalidInput(f"a command address is text such as tcp://127.0.0.1:5570, not {text!r}")
        scheme, separator, rest = text.partition("://")
        if not separator:
            scheme, rest = "ipc", text
        if scheme == "ipc":
            if not rest or rest.startswith("@") or "\0" in rest:
                raise InvalidInput(
                    f"the command address {text!r} names no file: write ipc://PATH, whose permissions protect it"
                )
            path = Path(rest).absolute()
            return cls(f"ipc://{path}", path)
        if scheme == "tcp":
            host, separator, number = rest.rpartition(":")
            port = 0 if number in ("*", "0") else int(number) if number.isascii() and number.isdigit() else -1
            if separator and host and 0 <= port <= 65_535:
                return cls(text, None, host.removeprefix("[").removesuffix("]"), port)
            raise InvalidInput(f"the command address {text!r} is incomplete: write tcp://HOST:PORT")
        raise InvalidInput(f"the command address {text!r} begins with {scheme}://: use ipc://PATH or tcp://HOST:PORT")

    @property
    def private(self) -> bool:
        """Whether only this machine reaches it. A name other than `localhost` may lead anywhere."""
        if self.path is not None or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False
