"""Where an endpoint listens, in the words of those who call it."""

from __future__ import annotations

__all__ = ["Addresses"]

KEY = "sk-scripted-endpoint-0000"
"""A key that opens nothing: the SDKs will not start without one."""


class Addresses:
    """The addresses of an endpoint on this machine. `port` is known once it listens."""

    port: int = 0

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`"""
        return f"http://127.0.0.1:{self.port}"

    @property
    def openai_url(self) -> str:
        """The base URL for OpenAI's SDK, and for all who speak its formats."""
        return f"{self.url}/v1"

    @property
    def anthropic_url(self) -> str:
        """The base URL for Anthropic's SDK."""
        return self.url

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables that send both SDKs here, with keys that open nothing."""
        return {
            "OPENAI_BASE_URL": self.openai_url,
            "OPENAI_API_KEY": KEY,
            "ANTHROPIC_BASE_URL": self.anthropic_url,
            "ANTHROPIC_API_KEY": KEY,
            "NO_PROXY": "127.0.0.1",
        }
