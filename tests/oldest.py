"""The oldest versions that pyproject.toml allows, as constraints for pip: `python -m tests.oldest`.

What the package needs at run time is pinned to its lower bound, the tools of development as in constraints.txt; what
these bring along is left to pip. It runs in an environment that has nothing installed yet.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path(__file__).parents[1]
_RUNTIME = ("redis", "postgres", "llm")
"""The extras whose parts are tested."""
_BOUND = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(\[[^\]]*\])?>=(?P<version>[0-9.]+)")


def oldest() -> Iterator[str]:
    """A line for each package. Raises `ValueError` for one without a lower bound."""
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    own = [*project["dependencies"], *(each for name in _RUNTIME for each in extras[name])]
    for each in own:
        found = _BOUND.match(each)
        if found is None:
            raise ValueError(f"pyproject.toml: {each!r} has no lower bound")
        yield f"{found['name']}=={found['version']}"
    pins = (_ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    tools = {_name(each) for each in extras["dev"]} - {_name(each) for each in own}
    yield from (pin for pin in pins if _name(pin) in tools)


def _name(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0].lower().replace("_", "-")


if __name__ == "__main__":
    print("\n".join(oldest()))
