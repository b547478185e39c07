"""A review as Markdown: what stands out first, then each subject with its numbers, then how they were measured.

The same metrics give the same text, except for the date. A section without numbers says why it has none.
"""

from collections.abc import Callable, Collection
from datetime import UTC, datetime

from tenuto.review.markdown import plain
from tenuto.review.metrics import Metrics
from tenuto.review.sections import Lines, Sections

_SECTIONS: dict[str, Callable[[Sections], Lines]] = {
    "Findings": Sections.findings,
    "Size and languages": Sections.size,
    "Packages": Sections.packages,
    "Longest functions": Sections.functions,
    "Import cycles": Sections.cycles,
    "Documentation": Sections.documentation,
    "Tests": Sections.tests,
    "Activity": Sections.activity,
    "Hot spots": Sections.hot_spots,
    "Files": Sections.files,
    "Left out": Sections.left_out,
    "How it was measured": Sections.method,
}

SECTIONS = tuple(_SECTIONS)
"""The titles of all sections, in their order."""


def write_report(metrics: Metrics, when: datetime, gone: Collection[str] = ()) -> str:
    """Return the report of a review made at `when`. Paths in `gone` are marked as no longer there."""
    sections = Sections(metrics, frozenset(gone))
    date = when.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    lines = [f"# Review of {plain(metrics.name)}", "", f"Written on {date} by `tenuto demo`."]
    for title, body in _SECTIONS.items():
        lines += ["", f"## {title}", "", *body(sections)]
    return "\n".join(lines) + "\n"
