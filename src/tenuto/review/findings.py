"""What stands out in the metrics of a review, in short sentences with numbers, the most important first."""

from collections.abc import Iterator

from tenuto.review.markdown import code, count, share
from tenuto.review.metrics import Metrics

LONG_FUNCTION = 60
"""Lines. A longer function does not fit on a screen."""


def findings(metrics: Metrics) -> list[str]:
    """Return the findings as Markdown sentences; never none."""
    if not metrics.totals.source_files:
        return [_without_source(metrics)]
    return [
        _size(metrics),
        *_broken(metrics),
        *_cycles(metrics),
        *_functions(metrics),
        *_tests(metrics),
        *_documentation(metrics),
        *_hot_spot(metrics),
    ]


def _without_source(metrics: Metrics) -> str:
    if not metrics.totals.files:
        return "The tree is empty: there is no file to review."
    return f"There are {count(metrics.totals.files)} files, and none of them is source."


def _size(metrics: Metrics) -> str:
    totals = metrics.totals
    largest = next((row for row in metrics.languages if row.kind == "code"), None)
    mostly = ""
    if largest is not None and totals.lines.code:
        mostly = f", {share(largest.lines.code, totals.lines.code)} of them {largest.name}"
    return (
        f"{count(totals.lines.code)} lines of code in {count(totals.source_files)} source files{mostly};"
        f" {count(totals.test_lines.code)} of these lines are tests."
    )


def _broken(metrics: Metrics) -> Iterator[str]:
    if metrics.broken_count == 1:
        yield f"1 Python file could not be parsed: {code(metrics.broken[0].path)}."
    elif metrics.broken_count:
        first = metrics.broken[0].path
        yield f"{count(metrics.broken_count)} Python files could not be parsed, among them {code(first)}."


def _cycles(metrics: Metrics) -> Iterator[str]:
    if metrics.cycle_count:
        largest = metrics.cycles[0]
        groups = "1 group" if metrics.cycle_count == 1 else f"{count(metrics.cycle_count)} groups"
        yield (
            f"{groups} of modules import each other in a circle; the largest has {count(largest.size)} modules, among"
            f" them {code(largest.paths[0])}."
        )
    elif metrics.import_count:
        yield f"No import cycles among {count(metrics.import_count)} imports."


def _functions(metrics: Metrics) -> Iterator[str]:
    if metrics.longest_functions:
        longest = metrics.longest_functions[0]
        judgement = "too long to see at once" if longest.length > LONG_FUNCTION else "short enough to see at once"
        yield (
            f"The longest function is {code(longest.name)} in {code(longest.path)} with {count(longest.length)} lines,"
            f" {judgement}; the median is {count(metrics.function_median)}."
        )


def _tests(metrics: Metrics) -> Iterator[str]:
    coverage = metrics.coverage
    if not coverage.measured:
        return
    if not metrics.totals.test_files:
        yield "No tests were recognised."
        return
    reached = coverage.direct + coverage.indirect
    sentence = f"Tests reach {count(reached)} of {count(coverage.measured)} source files by their imports"
    if metrics.unreached:
        largest = metrics.unreached[0]
        sentence += f"; the largest they do not reach is {code(largest.path)} with {count(largest.code)} lines of code"
    yield f"{sentence}."


def _documentation(metrics: Metrics) -> Iterator[str]:
    documented = metrics.documentation
    if documented.defined:
        sentence = (
            f"{share(documented.documented, documented.defined)} of {count(documented.defined)} public definitions have"
            " a docstring"
        )
        if metrics.undocumented:
            worst = metrics.undocumented[0]
            sentence += f"; {code(worst.path)} lacks {count(worst.documentation.missing)}"
        yield f"{sentence}."


def _hot_spot(metrics: Metrics) -> Iterator[str]:
    if metrics.hot_spots:
        spot = metrics.hot_spots[0]
        yield (
            f"The hottest spot is {code(spot.path)}: {count(spot.commits)} commits, {count(spot.code)} lines of code."
        )
