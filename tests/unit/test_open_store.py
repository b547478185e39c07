"""Store URLs: what they name, and what is wrong with those that name nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tenuto.errors import InvalidInput, MissingExtra
from tenuto.stores import open_store
from tenuto.stores.memory import MemoryStore
from tenuto.stores.sqlite import SqliteStore


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///some/tenuto.db", Path.cwd() / "some/tenuto.db"),
        ("sqlite:////some/tenuto.db", Path("/some/tenuto.db")),
        ("sqlite:///with%20space.db", Path.cwd() / "with space.db"),
        ("some/tenuto.db", Path.cwd() / "some/tenuto.db"),
        ("/some/tenuto.db", Path("/some/tenuto.db")),
    ],
)
def test_files(url: str, path: Path) -> None:
    store = open_store(url)
    assert isinstance(store, SqliteStore)
    assert store.path == path


def test_memory() -> None:
    assert isinstance(open_store("memory://"), MemoryStore)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "empty"),
        ("sqlite:tenuto.db", "lacks slashes"),
        ("sqlite://host/tenuto.db", "local file"),
        ("sqlite:///", "names no file"),
        ("sqlite:///tenuto.db?mode=ro", "parameters"),
        ("memory://name", "no store URL"),
        ("mysql://host/name", "no store URL"),
        ("sqlite:///a\x00b", "unprintable"),
    ],
)
def test_what_is_no_store_url(url: str, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        open_store(url)


@pytest.mark.parametrize("url", ["redis://ann:secret@host:6379/0", "postgresql://ann:secret@host/name"])
def test_engines_that_are_not_there_say_which_extra_to_install(url: str) -> None:
    with pytest.raises(MissingExtra, match="install tenuto") as caught:
        open_store(url)
    assert "secret" not in str(caught.value)
