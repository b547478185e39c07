"""Tenuto: durable tasks for agents that must finish."""

from tenuto._version import __version__

__all__ = ["__version__"]
