"""Reading source line by line, for the languages that have no parser here: what is code, comment and blank.

A line is a comment when it begins with one, or lies inside a block comment that began at the start of a line. A comment
after code does not make its line one. Strings are not known, so a text that looks like a comment counts as one.
"""

from tenuto.review.languages import Comments
from tenuto.review.source import Lines, Source, split_lines


def read_lines(content: bytes, comments: Comments) -> Source:
    """Return the line counts of a source file. Never raises because of its content."""
    lines = split_lines(content.decode("utf-8", "replace"))
    comment = blank = 0
    closing = ""
    for line in lines:
        stripped = line.strip()
        if closing:
            comment += 1
            if closing in stripped:
                closing = ""
            continue
        if not stripped:
            blank += 1
            continue
        block = next((block for block in comments.block if stripped.startswith(block[0])), None)
        if block is not None:
            comment += 1
            closing = "" if block[1] in stripped[len(block[0]) :] else block[1]
        elif stripped.startswith(comments.line):
            comment += 1
    return Source(lines=Lines(len(lines) - comment - blank, comment, blank))
