"""Dollars for people, nano-dollars for the engine: exact both ways."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from tenuto.errors import InvalidInput
from tenuto.tasks.money import DOLLAR, LARGEST_AMOUNT

__all__ = ["dollars", "exact", "nano_dollars"]


def nano_dollars(value: Decimal | float | str, field: str) -> int:
    """An amount in US dollars, such as `0.25`, `"$1.50"` or a `Decimal`, in whole nano-dollars.

    Raises `InvalidInput`, naming `field`, for what is no amount, negative, too large, or has more than nine decimals.
    """
    try:
        amount = Decimal(str(value).strip().removeprefix("$").replace(",", "")) * DOLLAR
    except InvalidOperation:
        amount = Decimal("NaN")
    if isinstance(value, bool) or amount != amount.to_integral_value() or not 0 <= amount <= LARGEST_AMOUNT:
        raise InvalidInput(
            f"{field} must be an amount in dollars from 0 to {LARGEST_AMOUNT // DOLLAR:,}, "
            f"with at most nine decimals, not {value!r}"
        )
    return int(amount)


def dollars(nano: int) -> str:
    """Nano-dollars as dollars, with as many decimals as it takes and at least two: `$0.0025`, `$12.50`."""
    whole, part = divmod(abs(nano), DOLLAR)
    decimals = f"{part:09d}".rstrip("0").ljust(2, "0")
    return f"{'-' if nano < 0 else ''}${whole:,}.{decimals}"


def exact(nano: int) -> str:
    """The same as text that programs can read: `0.0025`, `1200.50`."""
    return dollars(nano).replace("$", "").replace(",", "")
