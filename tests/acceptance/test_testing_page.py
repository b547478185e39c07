"""The page on testing, as it is written: its samples are one file of tests, and they pass."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tenuto.testing.script import read_script

PAGE = (Path(__file__).parents[2] / "docs" / "testing.md").read_text(encoding="utf-8")
SETTINGS = """\
[pytest]
asyncio_mode = "auto"
asyncio_default_fixture_loop_scope = "function"
filterwarnings = ["error"]
timeout = "300"
"""


@pytest.mark.timeout(600)
def test_the_samples_pass_as_tests(tmp_path: Path) -> None:
    # Given
    samples = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "test_samples.py").write_text("\n\n".join(samples), encoding="utf-8")
    (tmp_path / "pytest.toml").write_text(SETTINGS, encoding="utf-8")
    # When
    line = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:valkey", "test_samples.py"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=560, check=False)
    # Then
    assert done.returncode == 0, done.stdout + done.stderr
    tests = sum(sample.count("def test_") for sample in samples)
    assert f"{tests} passed" in done.stdout


def test_the_scripts_in_json_are_read() -> None:
    turns = re.findall(r"`(\[\"Hello\".*?\])`", PAGE)
    rules = [text.replace("[...]", '["x"]') for text in re.findall(r'`(\{"rules".*?\})`', PAGE)]
    assert len(turns) == len(rules) == 1
    for text in (*turns, *rules):
        assert read_script(text)
