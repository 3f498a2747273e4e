"""A validation error that only a service can find, in the form of those that the schemas find."""

from decimal import Decimal

from core.errors import InvalidRequest
from domain.money import AmountInvalid, to_minor


def invalid(where: tuple[str | int, ...], message: str, value: object) -> InvalidRequest:
    """One wrong field: `invalid(("query", "cursor"), "…", "abc")`."""
    return InvalidRequest([{"type": "value_error", "loc": where, "msg": f"Value error, {message}", "input": value}])


def minor_units(amount: Decimal | None, currency: str) -> int | None:
    """A body's `amount` in the minor units of the currency that it turned out to be in; None stays None."""
    if amount is None:
        return None
    try:
        return to_minor(amount, currency)
    except AmountInvalid as error:
        raise invalid(("body", "amount"), str(error), amount) from None
