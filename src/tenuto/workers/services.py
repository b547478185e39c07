"""What a worker lends to the tasks it runs."""

from __future__ import annotations

from dataclasses import dataclass

from tenuto.stores.base import Store
from tenuto.tasks.clock import Millis
from tenuto.tasks.retry import RetryPolicy
from tenuto.workers.patience import Patience
from tenuto.workers.recorder import Recorder
from tenuto.workers.threads import Threads

__all__ = ["Services"]


@dataclass(frozen=True, slots=True)
class Services:
    """Shared by all tasks of one worker."""

    store: Store
    recorder: Recorder
    threads: Threads
    patience: Patience
    lease: Millis
    """how long a task is held without a word, milliseconds"""
    turn_timeout: float
    """most seconds for one turn of an agent that works in turns"""
    retry: RetryPolicy
    """where neither the task nor its agent has a policy of its own"""
