"""What an agent raises in order to say how bad it is. Anything else that it raises ends it, and may be restarted."""

from __future__ import annotations

__all__ = ["NonRecoverableException", "RecoverableException"]


class RecoverableException(Exception):
    """This round has failed and the next may not: a looping or periodic agent reports it and goes on."""


class NonRecoverableException(Exception):
    """Trying again would not help: the agent ends, and no restart policy starts it again."""
