"""Lines of languages that have no parser here."""

from tenuto.review.languages import by_first_line, by_name, is_binary_name
from tenuto.review.line_source import read_lines
from tenuto.review.source import Lines


def lines_of(name: str, text: str) -> Lines:
    language = by_name(name)
    assert language is not None
    return read_lines(text.encode(), language.comments).lines


def test_line_and_block_comments_are_told_from_code() -> None:
    text = "// one\n/* two\n three */\n\nint x; // code\n/* four */\n"

    assert lines_of("a.c", text) == Lines(code=1, comment=4, blank=1)


def test_an_unclosed_block_ends_with_the_file() -> None:
    assert lines_of("a.css", "/* never\nclosed\n") == Lines(code=0, comment=2, blank=0)


def test_a_language_without_line_comments_has_none() -> None:
    assert lines_of("a.html", "<!-- x -->\n# heading\n") == Lines(code=1, comment=1, blank=0)


def test_languages_are_known_by_extension_name_or_interpreter() -> None:
    names = ["A.PY", "Makefile", "x.tar.gz", ".bashrc", "Dockerfile", "go.sum", "x.y.ts"]

    assert [language.name if (language := by_name(name)) else None for name in names] == [
        "Python",
        "Makefile",
        None,
        None,
        "Dockerfile",
        "Lock files",
        "TypeScript",
    ]
    assert is_binary_name("x.tar.gz")
    for line, expected in {
        b"#!/usr/bin/env python3\n": "Python",
        b"#!/usr/bin/env -S node --flag": "JavaScript",
        b"#!/bin/sh -e\nexit": "Shell",
    }.items():
        found = by_first_line(line)
        assert found is not None
        assert found.name == expected
    for line in (b"", b"#!", b"#!/usr/bin/env", b"#!/opt/unknown", b"text"):
        assert by_first_line(line) is None
