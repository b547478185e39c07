"""What `tenuto worker` does: workers in this program, or in processes that this program looks after."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tenuto.workers.config import WorkerConfig

if TYPE_CHECKING:
    from tenuto.workers.handler import Handler

__all__ = ["run_workers"]


def run_workers(url: str, agents: Sequence[Handler], config: WorkerConfig, processes: int) -> None:
    """Works until SIGTERM or Ctrl-C, then drains: running tasks finish or are handed back within the grace time."""
