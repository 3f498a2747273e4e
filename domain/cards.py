"""Card numbers and what belongs to them: brands, check digit, expiry, security code.

A PAN (primary account number, ISO/IEC 7812) begins with the identification number of its issuer, by which the brand is
known, and ends with a Luhn check digit. Errors raised here never hold one.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from itertools import accumulate

_SEPARATORS = re.compile(r"[ -]")
_DIGITS = re.compile(r"[0-9]+", re.ASCII)
_MAX_TYPED = 40
_VALUES = bytes.maketrans(b"0123456789", bytes(range(10)))
_DOUBLED = bytes.maketrans(bytes(range(10)), bytes([0, 2, 4, 6, 8, 1, 3, 5, 7, 9]))


class Brand(StrEnum):
    VISA = "visa"
    MASTERCARD = "mastercard"
    AMEX = "amex"
    DISCOVER = "discover"
    DINERS = "diners"
    JCB = "jcb"
    UNIONPAY = "unionpay"


@dataclass(frozen=True, slots=True)
class BrandRules:
    prefixes: tuple[tuple[int, int], ...]
    """Ranges of first digits, both ends included; both of a range have the same number of digits."""
    lengths: frozenset[int]
    cvc_length: int = 3


BRANDS: Mapping[Brand, BrandRules] = {
    Brand.VISA: BrandRules(((4, 4),), frozenset({13, 16, 19})),
    Brand.MASTERCARD: BrandRules(((51, 55), (2221, 2720)), frozenset({16})),
    Brand.AMEX: BrandRules(((34, 34), (37, 37)), frozenset({15}), cvc_length=4),
    Brand.DISCOVER: BrandRules(((6011, 6011), (644, 649), (65, 65)), frozenset(range(16, 20))),
    Brand.DINERS: BrandRules(((300, 305), (3095, 3095), (36, 36), (38, 39)), frozenset(range(14, 20))),
    Brand.JCB: BrandRules(((3528, 3589),), frozenset(range(16, 20))),
    Brand.UNIONPAY: BrandRules(((62, 62), (81, 81)), frozenset(range(16, 20))),
}
assert BRANDS.keys() == set(Brand)


class CardInvalid(ValueError):
    """This is no card that could be charged; the message says why, and holds nothing of the number."""


@dataclass(frozen=True, slots=True)
class CardDetails:
    """A card as it was typed, checked. The security code is checked on the way and is no part of it."""

    pan: str = field(repr=False)
    brand: Brand
    exp_month: int
    exp_year: int
    holder_name: str | None = None

    @property
    def masked(self) -> str:
        """`411111XXXXXX1111`: the first six and the last four digits (PCI DSS 4.0, requirement 3.4.1)."""
        return masked(self.pan)


def masked(pan: str) -> str:
    return pan[:6] + "X" * (len(pan) - 10) + pan[-4:]


def parse_pan(typed: str) -> tuple[str, Brand]:
    """The digits and the brand of a number typed with or without spaces and dashes. Raises CardInvalid."""
    pan = _SEPARATORS.sub("", typed) if len(typed) <= _MAX_TYPED else ""
    if not _DIGITS.fullmatch(pan) or not 12 <= len(pan) <= 19:
        raise CardInvalid("Invalid card number (12 to 19 digits are needed)")
    if not passes_luhn(pan):
        raise CardInvalid("Invalid card number (fails Luhn check)")
    brand = brand_of(pan)
    if brand is None:
        raise CardInvalid("Invalid card number (of no brand that is accepted)")
    if len(pan) not in BRANDS[brand].lengths:
        raise CardInvalid(f"Invalid card number ({brand} has no numbers of {len(pan)} digits)")
    return pan, brand


def passes_luhn(digits: str) -> bool:
    """The check of ISO/IEC 7812-1, annex B."""
    values = digits.encode("ascii").translate(_VALUES)
    return (sum(values[-1::-2]) + sum(values[-2::-2].translate(_DOUBLED))) % 10 == 0


def pans_in(digits: str) -> Iterator[slice]:
    """Wherever a number of any brand begins and ends in a row of digits, which may be long."""
    values = digits.encode("ascii").translate(_VALUES)
    doubled = values.translate(_DOUBLED)
    # Sums from the beginning to each place, so that no part is added up twice: with every second digit doubled, and
    # with the others.
    sums = [
        list(
            accumulate(
                (pair[place % 2 ^ odd] for place, pair in enumerate(zip(values, doubled, strict=True))), initial=0
            )
        )
        for odd in (0, 1)
    ]
    for start in range(len(digits)):
        for length in _lengths_of(digits[start : start + 4]):
            end = start + length
            if end <= len(digits):
                sum_to = sums[(end - 1) % 2]
                if (sum_to[end] - sum_to[start]) % 10 == 0:
                    yield slice(start, end)


@lru_cache(maxsize=10_000)
def _lengths_of(prefix: str) -> frozenset[int]:
    brand = brand_of(prefix)
    return BRANDS[brand].lengths if brand else frozenset()


def brand_of(pan: str) -> Brand | None:
    for brand, rules in BRANDS.items():
        for low, high in rules.prefixes:
            if low <= int(pan[: len(str(low))]) <= high:
                return brand
    return None


def full_year(year: int) -> int:
    """A year of two digits is one of this century: 27 is 2027. Raises CardInvalid."""
    if 0 <= year <= 99:
        return 2000 + year
    if not 2000 <= year <= 2099:
        raise CardInvalid("Invalid expiry year (two or four digits are needed)")
    return year


def require_not_expired(exp_month: int, exp_year: int, now: datetime) -> None:
    """A card is good until the end of its month. Raises CardInvalid."""
    if not 1 <= exp_month <= 12:
        raise CardInvalid("Invalid expiry month (1 to 12)")
    if (exp_year, exp_month) < (now.year, now.month):
        raise CardInvalid("The card has expired")
    if exp_year > now.year + 50:
        raise CardInvalid("Invalid expiry year (too far ahead)")


def require_cvc(cvc: str, brand: Brand) -> None:
    """As many digits as the brand prints on its cards. Raises CardInvalid."""
    length = BRANDS[brand].cvc_length
    if not _DIGITS.fullmatch(cvc) or len(cvc) != length:
        raise CardInvalid(f"Invalid security code ({length} digits for {brand})")


@dataclass(frozen=True, slots=True)
class StoredCard:
    """A card as it is kept: shown masked, found again by its fingerprint, sealed for nobody but the bank."""

    token_id: str
    """What its number was sealed for, a token, a saved card or a payment; a copy of the card keeps it."""
    brand: Brand
    masked: str
    exp_month: int
    exp_year: int
    holder_name: str | None
    fingerprint: str
    """The same for the same number of one owner, and of no use to another."""
    sealed_pan: bytes = field(repr=False)
    challenges: bool = False
    """Its issuer asks for 3-D Secure before the bank is asked."""

    @property
    def last4(self) -> str:
        return self.masked[-4:]
