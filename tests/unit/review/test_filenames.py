"""File names survive being stored, shown and read back, whatever bytes they are made of."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenuto.review.filenames import join, parent, to_path, to_text
from tenuto.review.markdown import code, read_sections, table

file_names = st.binary(min_size=1, max_size=30).filter(lambda name: b"\0" not in name and b"/" not in name)


@given(file_names)
def test_any_name_is_found_again_by_its_stored_form(name: bytes) -> None:
    stored = to_text(name)

    assert os.fsencode(to_path(stored)) == name
    assert stored.isprintable()
    stored.encode()  # no surrogates are left


@given(file_names)
def test_any_name_survives_a_table_of_a_report(name: bytes) -> None:
    stored = to_text(name)
    report = "\n".join(["## Files", *table(("File", " Code"), [(code(stored), "1")])])

    assert read_sections(report)[0].rows == [{"File": stored, "Code": "1"}]


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        (b"plain.py", "plain.py"),
        ("größe.py".encode(), "größe.py"),
        (b"a\nb", "a\\x0ab"),
        (b"\xff", "\\xff"),
        (b"\\", "\\\\"),
    ],
)
def test_only_what_cannot_be_shown_is_escaped(name: bytes, stored: str) -> None:
    assert to_text(name) == stored


def test_paths_are_relative_to_the_tree() -> None:
    assert join(".", "a.py") == "a.py"
    assert join("b", "a.py") == "b/a.py"
    assert parent("b/a.py") == "b"
    assert parent("a.py") == "."
