"""Markdown as a report uses it: tables, code and numbers that any text survives, and reading them back.

What a reviewed tree calls its files is not ours to choose, so every name is written as code, and whatever would end a
code span or a table cell is escaped. `read_sections` undoes exactly that.
"""

import re
from collections.abc import Iterable, Sequence

import msgspec

_CELL_END = re.compile(r"(?<!\\)\|")
_CODE = re.compile(r"^(`+)([^`]|[^`].*?[^`])\1(?!`)(.*)$")
_NUMBER = re.compile(r"^-?\d[\d,]*$")


class Section(msgspec.Struct):
    """A section of a report as it was read: its title, the lines that are no table, and the rows of its tables."""

    title: str
    text: list[str] = []
    rows: list[dict[str, str]] = []
    """each row by the headings of its table; code without its marks"""


def code(text: str) -> str:
    """Return the text as a code span."""
    marks = "`" * (max(map(len, re.findall(r"`+", text)), default=0) + 1)
    # One blank inside each mark belongs to the marks, where there is one on both sides.
    blank = " " if text[:1] in {"`", " "} or text[-1:] in {"`", " "} else ""
    return f"{marks}{blank}{text}{blank}{marks}"


def plain(text: str) -> str:
    """Return a text that is no code, so that nothing in it is taken for Markdown."""
    return re.sub(r"([\\`*_\[\]<>#|~])", r"\\\1", text)


def count(number: int) -> str:
    """Return a whole number as people read it: 12,345."""
    return f"{number:,}"


def share(part: int, whole: int) -> str:
    """Return what share of `whole` a part is, rounded down so that 100% means all; a dash where there is no whole."""
    return f"{100 * part // whole}%" if whole else "–"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table. Headings that begin with a blank are of columns aligned to the right."""
    rule = ["---:" if heading.startswith(" ") else "---" for heading in headings]
    lines = [headings, rule, *([cell.replace("|", r"\|") for cell in row] for row in rows)]
    return ["| " + " | ".join(cell.strip() for cell in line) + " |" for line in lines]


def read_sections(text: str) -> list[Section]:
    """Return the sections of a report, each from one heading of the second level to the next."""
    sections: list[Section] = []
    headings: list[str] = []
    for line in text.splitlines():
        if line.startswith("## "):
            sections.append(Section(line[3:].strip()))
            headings = []
        elif not sections or not line.strip():
            headings = []
        elif not line.startswith("|"):
            sections[-1].text.append(line)
            headings = []
        elif not headings:
            headings = _cells(line)
        elif not set(line) <= set("|-: "):
            sections[-1].rows.append(dict(zip(headings, map(_without_marks, _cells(line)), strict=False)))
    return sections


def read_number(cell: str) -> int | None:
    """Return the number that a cell of a table holds, or None."""
    return int(cell.replace(",", "")) if _NUMBER.match(cell) else None


def _cells(line: str) -> list[str]:
    return [cell.strip().replace(r"\|", "|") for cell in _CELL_END.split(line.strip())[1:-1]]


def _without_marks(cell: str) -> str:
    found = _CODE.match(cell)
    if found is None:
        return cell
    text = found[2]
    return (text[1:-1] if len(text) > 2 and text[0] == text[-1] == " " else text) + found[3]
