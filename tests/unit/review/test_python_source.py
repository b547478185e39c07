"""What is counted in Python files, also in those that are broken."""

import warnings
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenuto.review.python_source import PARSE_LIMIT, read_python
from tenuto.review.source import Documented, Import, Lines, Source


def read(text: str, name: str = "module.py") -> Source:
    return read_python(dedent(text).lstrip("\n").encode(), name)


def test_each_line_is_code_comment_or_blank() -> None:
    source = read('''
        """A docstring
        of two lines."""

        # a comment
        x = """
        # not a comment

        """
        def f(): "a docstring on a line of code"
    ''')

    assert source.lines == Lines(code=4, comment=3, blank=2)
    assert source.lines.total == 9


def test_functions_are_named_by_what_is_around_them_and_measured_without_decorators() -> None:
    source = read("""
        class Outer:
            @decorated(
                "at length"
            )
            async def method(self):
                def inner():
                    return 1
                return inner

        if True:
            def under_a_condition(): ...
    """)

    assert [(one.name, one.line, one.length) for one in source.functions] == [
        ("Outer.method", 5, 4),
        ("Outer.method.inner", 6, 2),
        ("under_a_condition", 11, 1),
    ]
    assert source.classes == 1


def test_docstrings_are_asked_of_public_definitions() -> None:
    source = read('''
        """The module."""
        class Public:
            """Said."""
            def said(self):
                """Yes."""
            def unsaid(self): ...
            def _private(self): ...
            @overload
            def said_elsewhere(self): ...
            @value.setter
            def value(self, new): ...
            def outer(self):
                """Yes."""
                def nested(): ...
        class _Private:
            def method(self): ...
        def empty():
            """  """
    ''')

    assert source.documentation == Documented(defined=6, documented=4)


@pytest.mark.parametrize(("name", "defined"), [("_private.py", 0), ("__init__.py", 1), ("__main__.py", 1), ("m.py", 1)])
def test_the_name_of_a_module_says_whether_it_is_public(name: str, defined: int) -> None:
    assert read("x = 1\n", name).documentation.defined == defined


def test_an_empty_module_needs_no_docstring() -> None:
    assert read("", "__init__.py").documentation == Documented()


def test_imports_know_when_they_run() -> None:
    source = read("""
        import a.b, c as d
        from .e import f as g, h
        from typing import TYPE_CHECKING
        if TYPE_CHECKING:
            from i import j
        else:
            import k
        if not TYPE_CHECKING:
            import l
        try:
            import m
        except ImportError:
            import n
        def later():
            from .. import o
        if __name__ == "__main__":
            import p
    """)

    assert [entry for entry in source.imports if entry.module != "typing"] == [
        Import("a.b", []),
        Import("c", []),
        Import(".e", ["f", "h"]),
        Import("i", ["j"], "typing"),
        Import("k", []),
        Import("l", []),
        Import("m", []),
        Import("n", []),
        Import("..", ["o"], "later"),
        Import("p", [], "later"),
    ]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"x = (\n", 1),
        (b"def f():\nreturn 1\n", 2),
        (b"x = '\xff'\n", 0),
        (b"# coding: no-such-encoding\nx = 1\n", 0),
        (b"x = 1\0\n", 0),
        (b"print 'python 2'\n", 1),
        (b"(" * 100_000, 1),
        (b"x = 1\n" * (PARSE_LIMIT // 6 + 1), 0),
    ],
    ids=["open", "indentation", "bytes", "encoding", "nul", "python2", "deep", "large"],
)
def test_a_broken_file_keeps_its_lines_and_says_where_the_fault_is(content: bytes, line: int) -> None:
    source = read_python(content, "broken.py")

    assert source.broken is not None
    assert source.broken.reason
    assert line == 0 or source.broken.line == line
    assert source.lines.total == content.count(b"\n") + (not content.endswith(b"\n"))


@given(st.binary(max_size=200) | st.text(alphabet="def x():\n \t\"'#\\\f\r@[]", max_size=200).map(str.encode))
def test_nothing_in_a_file_makes_reading_fail(content: bytes) -> None:
    source = read_python(content, "any.py")

    assert source.lines.code >= 0
    assert source.lines.comment >= 0


def test_reviewed_code_warns_nobody() -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        source = read(r'''x = "\d" is "\w"''')

    assert source.broken is None
    assert not told


def test_a_long_chain_of_branches_has_no_depth_limit_of_ours() -> None:
    text = "if x == 0:\n    pass\n" + "".join(f"elif x == {n}:\n    pass\n" for n in range(1, 400))

    assert read(text).broken is None
