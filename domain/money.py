"""Money as an integer of minor units. No float takes part in any arithmetic."""

from collections.abc import Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, localcontext

from iso4217 import Currency

MAX_AMOUNT_MINOR = 10**12
# ISO 4217 has at most four decimals (CLF, UYW). Amounts of all currencies compare in units of 10^-4.
COMPARABLE_EXPONENT = 4

_FAR = 2**62

EXPONENTS: Mapping[str, int] = {
    currency.code: currency.exponent for currency in Currency if currency.exponent is not None
}
"""Decimals of each ISO 4217 currency that has a minor unit; gold, test codes and the like have none."""


class AmountInvalid(ValueError):
    """The number is no amount in this currency; the message says why."""


def to_minor(amount: Decimal, currency: str) -> int:
    """Major units to minor units, exactly: USD 100.5 is 10050. Raises AmountInvalid."""
    if not amount.is_finite():
        raise AmountInvalid("The amount must be a finite number")
    if amount <= 0:
        raise AmountInvalid("The amount must be greater than zero")
    exponent = EXPONENTS[currency]
    if amount.adjusted() + exponent > 13:  # before scaling, so that 1e999999 costs nothing
        raise AmountInvalid(f"The amount must be at most {MAX_AMOUNT_MINOR} minor units")
    amount_minor = int(amount.scaleb(exponent))
    # 1.00 JPY is 1, and 1.01 JPY is no amount. Comparing is exact, so digits that scaling rounded away are noticed.
    if Decimal(amount_minor).scaleb(-exponent) != amount:
        raise AmountInvalid(f"{currency} has {exponent} decimals; the amount has more")
    if amount_minor > MAX_AMOUNT_MINOR:
        raise AmountInvalid(f"The amount must be at most {MAX_AMOUNT_MINOR} minor units")
    return amount_minor


def to_major(amount_minor: int, currency: str) -> float:
    """The number that JSON shows: 10050 USD as 100.5. Division of two integers is rounded correctly, and
    13 digits fit a double, so what is printed is exact."""
    return float(amount_minor / 10 ** EXPONENTS[currency])


def comparable(amount_minor: int, currency: str) -> int:
    """An integer by which amounts of any currencies compare in major units: JPY 1000 is more than USD 999.99."""
    return int(amount_minor * 10 ** (COMPARABLE_EXPONENT - EXPONENTS[currency]))


def comparable_bound(amount: Decimal, *, upwards: bool) -> int:
    """A filter's bound in comparable units, rounded so that it excludes what it should: a lower bound upwards. One that
    is beyond every amount may be nearer than it was, since it must fit into 64 bits."""
    if amount.adjusted() > 20:
        return _FAR if amount > 0 else -_FAR
    with localcontext(prec=100):  # more digits than a bound in a URL may have
        scaled = amount.scaleb(COMPARABLE_EXPONENT)
        return max(-_FAR, min(int(scaled.to_integral_value(ROUND_CEILING if upwards else ROUND_FLOOR)), _FAR))
