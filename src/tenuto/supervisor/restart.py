"""Whether an agent that has ended is started again, and after how long. A pure rule.

The delay doubles from `backoff` up to `max_backoff`. An agent that has lived for `window` seconds counts as sound: its
delay begins anew, and so does the count of restarts that `max_restarts` limits. So a crash loop ends, and an agent that
fails once a day does not use up its restarts.
"""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal, TypeAlias, get_args

from tenuto.errors import InvalidInput

__all__ = ["RestartMode", "RestartPolicy", "Restarts"]

RestartMode: TypeAlias = Literal["never", "on-failure", "always"]


@dataclass(frozen=True)
class RestartPolicy:
    """When an agent is started again by itself. One that was stopped on purpose never is."""

    mode: RestartMode = "never"
    """`on-failure`: after it failed; `always`: also after it ended as it should"""
    _: KW_ONLY
    max_restarts: int | None = 5
    """most restarts without a sound life between them; None: no limit"""
    backoff: float = 0.5
    """seconds before the first restart"""
    max_backoff: float = 30.0
    """most seconds before any"""
    window: float = 60.0
    """an agent that has lived so many seconds counts as sound"""

    def __post_init__(self) -> None:
        if self.mode not in get_args(RestartMode):
            raise InvalidInput(f"mode must be never, on-failure or always, not {self.mode!r}")
        count: Any = self.max_restarts
        if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 0):
            raise InvalidInput(f"max_restarts must be a whole number from 0, or None for no limit, not {count!r}")
        for name in ("backoff", "max_backoff", "window"):
            value = getattr(self, name)
            sound = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            if not sound or value < 0:
                raise InvalidInput(f"{name} must be a number of seconds from 0, not {value!r}")


class Restarts:
    """The restarts of one agent, counted by its policy."""

    def __init__(self, policy: RestartPolicy) -> None:
        self.policy = policy
        self.count = 0
        """restarts without a sound life between them"""

    def wanted(self, *, failed: bool) -> bool:
        """Whether its policy wants another start after such an end."""
        return self.policy.mode == "always" or (failed and self.policy.mode == "on-failure")

    def delay(self, *, lived: float) -> float | None:
        """Seconds until the restart that is wanted now, which it counts; None: its policy allows no more.

        lived: for how many seconds it ran.
        """
        if lived >= self.policy.window:
            self.count = 0
        if self.policy.max_restarts is not None and self.count >= self.policy.max_restarts:
            return None
        self.count += 1
        exponent = min(self.count - 1, 60)
        return min(self.policy.backoff * 2.0**exponent, self.policy.max_backoff)
