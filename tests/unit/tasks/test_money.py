"""Amounts, budgets and their windows, and dollars for people."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenuto.errors import InvalidInput
from tenuto.tasks.clock import LATEST
from tenuto.tasks.dollars import dollars, nano_dollars
from tenuto.tasks.money import LARGEST_AMOUNT, Amount, Budget, Period, next_window, window_of


@pytest.mark.parametrize(
    ("given", "nano"),
    [
        (1, 10**9),
        ("0.25", 250_000_000),
        ("$1.50", 1_500_000_000),
        ("1,000", 10**12),
        (0.1, 100_000_000),
        (Decimal("0.000000001"), 1),
        (0, 0),
        (9_000_000, LARGEST_AMOUNT),
    ],
)
def test_dollars_are_read_exactly(given: Decimal | float | str, nano: int) -> None:
    assert nano_dollars(given, "money") == nano


@pytest.mark.parametrize("given", ["", "ten", -1, "0.0000000001", "nan", "inf", 9_000_001, True, "1 000"])
def test_what_is_no_amount_is_refused(given: Decimal | float | str) -> None:
    with pytest.raises(InvalidInput, match="money must be an amount in dollars"):
        nano_dollars(given, "money")


@pytest.mark.parametrize(
    ("nano", "shown"),
    [(0, "$0.00"), (1, "$0.000000001"), (2_500_000, "$0.0025"), (12_500_000_000, "$12.50"), (-(10**9), "-$1.00")],
)
def test_dollars_are_shown_with_as_many_decimals_as_it_takes(nano: int, shown: str) -> None:
    assert dollars(nano) == shown


@given(st.integers(0, LARGEST_AMOUNT))
def test_what_is_shown_is_read_back(nano: int) -> None:
    assert nano_dollars(dollars(nano), "money") == nano


@given(st.integers(0, LATEST - 40 * 86_400_000), st.sampled_from(Period))
def test_windows_follow_each_other_without_a_gap(at: int, period: Period) -> None:
    end = next_window(period, at)
    assert end is not None
    assert at < end <= at + 31 * 86_400_000
    assert window_of(period, end - 1) == window_of(period, at)
    assert window_of(period, end) > window_of(period, at)
    shown = datetime.fromtimestamp(end / 1000, UTC)
    assert (shown.hour, shown.minute, shown.second, shown.microsecond) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("used", "bound", "short"),
    [
        (Amount(90), Amount(10), None),
        (Amount(90), Amount(11), ("money", 10)),
        (Amount(200), Amount(1), ("money", 0)),
        (Amount(200, 4), Amount(0, 1), None),
        (Amount(0, 5), Amount(0, 1), ("tokens", 0)),
        (Amount(0, 0, 10**9), Amount(0, 0, 10**9), None),
    ],
)
def test_a_budget_says_what_it_has_too_little_of(used: Amount, bound: Amount, short: tuple[str, int] | None) -> None:
    assert Budget("total", money=100, tokens=5).short(used, bound) == short
