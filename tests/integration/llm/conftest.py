"""Agents on the engines that workers are tested with."""

from __future__ import annotations

from tests.integration.workers.conftest import clock, store

__all__ = ["clock", "store"]
