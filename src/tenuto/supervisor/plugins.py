"""What an agent, or an orchestrator, carries with it: connections, clients, a heartbeat.

    class Shop(PeriodicProcessAgent):
        class Plugin(PeriodicProcessAgent.Plugin):
            heartbeat = HeartbeatPlugin(interval=2)
            database = DatabasePlugin("orders.db")

        def runner(self):
            self.plugin.database.insert(...)

What the class says is a template: each agent gets its own copies, made where the agent lives, so that a connection is
opened in `initialize` and never travels. Plugins are initialized before `setup`, in the order in which they are
written, and finalized after `on_close`, in the reverse order: each one that was initialized exactly once, whatever
others raise.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from tenuto.errors import InvalidInput

__all__ = ["Plugin", "PluginSet"]


class Plugin:
    """One thing that is carried. Override what is needed; both may be coroutines in an async agent."""

    owner: Any = None
    """the agent, or the orchestrator, that carries it"""

    def initialize(self) -> Any:
        """Called once before the owner's `setup`."""

    def finalize(self) -> Any:
        """Called once after the owner's `on_close`, when `initialize` had returned."""


class PluginSet:
    """The plugins of one owner, as attributes. Subclass it to name them; `custom` ones go before the class's."""

    def __init__(self, **custom: Plugin) -> None:
        for name, plugin in custom.items():
            if not isinstance(plugin, Plugin):
                raise InvalidInput(f"plugin {name!r} must be a Plugin, not {type(plugin).__name__}")
            setattr(self, name, plugin)

    def __iter__(self) -> Iterator[tuple[str, Plugin]]:
        names: dict[str, None] = {}
        for owner in reversed(type(self).__mro__):
            names |= {name: None for name, value in vars(owner).items() if isinstance(value, Plugin)}
        names |= {name: None for name, value in vars(self).items() if isinstance(value, Plugin)}
        for name in names:
            if isinstance(plugin := getattr(self, name), Plugin):
                yield name, plugin

    def of(self, owner: Any) -> PluginSet:
        """The same plugins, copied for `owner`. Raises `InvalidInput` for one that cannot be copied."""
        own = copy.copy(self)
        for name, plugin in self:
            try:
                mine = copy.deepcopy(plugin)
            except Exception as error:
                raise InvalidInput(
                    f"plugin {name!r} cannot be copied for each agent: {error}; make what it holds in initialize()"
                ) from error
            mine.owner = owner
            setattr(own, name, mine)
        return own
