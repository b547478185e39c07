"""Which source files are tests, by where they are and what they are called, in the customs of the usual languages."""

import re

_DIRECTORIES = frozenset({"test", "tests", "__tests__", "spec", "specs", "testdata"})
_NAME = re.compile(
    r"^(?:test_(?P<after>.+)|(?P<before>.+?)(?:_test|_spec|\.test|\.spec)|(?P<camel>.+[a-z0-9])(?:Test|Tests|Spec))$"
)


def is_test_file(path: str) -> bool:
    """Return whether the file at this path of the tree is a test, or belongs to tests."""
    *directories, name = path.split("/")
    return (
        not _DIRECTORIES.isdisjoint(directories)
        or name == "conftest.py"
        or _NAME.match(name.rpartition(".")[0]) is not None
    )


def name_under_test(path: str) -> str:
    """Return the name, without suffix and in lower case, of what a test file tests; or an empty text."""
    found = _NAME.match(path.rpartition("/")[2].rpartition(".")[0])
    return (found["after"] or found["before"] or found["camel"]).lower() if found else ""
