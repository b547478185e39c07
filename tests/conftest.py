"""Settings that all tests share: a clean environment, and property tests that a busy machine cannot fail."""

import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

# A shell that runs the tests in the background has SIGINT ignored, which every program started from here would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A deadline per example would test the machine, not the code; each test has its time limit anyway.
settings.register_profile("tenuto", deadline=None, print_blob=True)
settings.load_profile("tenuto")


@pytest.fixture(autouse=True)
def no_ambient_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps tests away from a store that the developer's own environment points to."""
    for name in ("TENUTO_STORE", "REDIS_HOST", "REDIS_PORT", "REDIS_URL", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True, scope="session")
def private_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps what running orchestrators leave on the disk out of the working directory."""
    folder = tmp_path_factory.mktemp("t")
    os.environ |= {"TENUTO_RUN_DIR": str(folder / "run"), "TENUTO_LOG_DIR": str(folder / "logs")}
    yield
    del os.environ["TENUTO_RUN_DIR"], os.environ["TENUTO_LOG_DIR"]
