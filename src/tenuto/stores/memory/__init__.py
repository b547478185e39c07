"""The reference model: `Tables` in plain dictionaries, and nothing clever.

What other engines find by an index is found here by looking at everything that is unfinished. Use it for tests and for
work that may be forgotten with the process; where another engine answers differently, the other engine is wrong.
There is no rollback: the rules check before they write.
"""

from tenuto.stores.memory.store import MemoryStore

__all__ = ["MemoryStore"]
