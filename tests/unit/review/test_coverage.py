"""Which files tests reach, by imports and by names."""

import pytest

from tenuto.review.coverage import reach
from tenuto.review.tested import is_test_file, name_under_test
from tests.unit.review.make import facts, file


def test_files_are_reached_directly_indirectly_or_not() -> None:
    tree = facts(
        [file(path) for path in ("a.py", "b.py", "c.py", "tests/test_a.py")],
        {"tests/test_a.py": ["a.py"], "a.py": ["b.py"]},
    )

    assert reach(tree) == ["direct", "indirect", "none", None]


def test_a_package_is_reached_with_its_modules() -> None:
    tree = facts(
        [file(path) for path in ("p/__init__.py", "p/q/__init__.py", "p/q/m.py", "other/__init__.py", "test_m.py")],
        {"test_m.py": ["p/q/m.py"]},
    )

    assert reach(tree) == ["indirect", "indirect", "direct", "none", None]


def test_files_without_code_need_no_test() -> None:
    assert reach(facts([file("empty/__init__.py", 0), file("Makefile", language="Makefile")])) == [None, None]


def test_other_languages_have_tests_by_name() -> None:
    go = [file(path, language="Go") for path in ("x/a.go", "x/a_test.go", "x/b.go")]
    web = [file("b.ts", language="TypeScript"), file("__tests__/b.test.ts", language="TypeScript")]

    assert reach(facts([*go, *web])) == ["direct", None, "none", "direct", None]


@pytest.mark.parametrize(
    ("path", "tested"),
    [
        ("tests/test_core.py", "core"),
        ("pkg/core_test.go", "core"),
        ("web/button.test.tsx", "button"),
        ("src/CoreTest.java", "core"),
        ("spec/models/user_spec.rb", "user"),
        ("conftest.py", ""),
        ("tests/data.py", ""),
    ],
)
def test_tests_are_known_by_their_place_or_name(path: str, tested: str) -> None:
    assert is_test_file(path)
    assert name_under_test(path) == tested


@pytest.mark.parametrize("path", ["latest.py", "contest.py", "src/testing/model.py", "Contest.java", "attest/a.py"])
def test_names_that_only_contain_test_are_none(path: str) -> None:
    assert not is_test_file(path)
