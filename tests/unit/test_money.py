"""Amounts are exact integers, whatever a client writes."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.money import (
    EXPONENTS,
    MAX_AMOUNT_MINOR,
    AmountInvalid,
    comparable,
    comparable_bound,
    to_major,
    to_minor,
)


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [
        ("100.5", "USD", 10050),
        ("0.01", "USD", 1),
        ("1.10", "USD", 110),
        ("100.10000000000000000", "USD", 10010),
        ("1E+2", "USD", 10000),
        ("1.00", "JPY", 1),
        ("1000", "JPY", 1000),
        ("0.001", "KWD", 1),
        ("12.345", "KWD", 12345),
        ("1.2345", "CLF", 12345),
        ("10000000000", "USD", MAX_AMOUNT_MINOR),
        ("1000000000000", "JPY", MAX_AMOUNT_MINOR),
    ],
)
def test_major_units_become_exact_minor_units(amount: str, currency: str, minor: int) -> None:
    assert to_minor(Decimal(amount), currency) == minor


@pytest.mark.parametrize(
    ("amount", "currency"),
    [
        ("0", "USD"),
        ("-0", "USD"),
        ("-1", "USD"),
        ("0.001", "USD"),
        ("100.10000000000000001", "USD"),
        ("0.5", "JPY"),
        ("1.0001", "KWD"),
        ("10000000000.01", "USD"),
        ("1000000000001", "JPY"),
        ("1e999999", "USD"),
        ("1e-999999", "USD"),
        ("NaN", "USD"),
        ("sNaN", "USD"),
        ("Infinity", "USD"),
        ("-Infinity", "USD"),
    ],
)
def test_what_is_no_amount_in_the_currency_is_refused(amount: str, currency: str) -> None:
    with pytest.raises(AmountInvalid):
        to_minor(Decimal(amount), currency)


@given(st.integers(1, MAX_AMOUNT_MINOR), st.sampled_from(sorted(EXPONENTS)))
def test_what_is_shown_reads_back_as_the_same_amount(amount_minor: int, currency: str) -> None:
    assert to_minor(Decimal(repr(to_major(amount_minor, currency))), currency) == amount_minor


@pytest.mark.parametrize(("currency", "decimals"), [("JPY", 0), ("USD", 2), ("KWD", 3), ("CLF", 4)])
def test_decimals_are_those_of_iso_4217(currency: str, decimals: int) -> None:
    assert EXPONENTS[currency] == decimals


@pytest.mark.parametrize("code", ["XXX", "XTS", "XAU", "DEM", "usd", "ZZZ", ""])
def test_what_has_no_minor_unit_is_no_currency(code: str) -> None:
    assert code not in EXPONENTS


def test_amounts_compare_in_major_units_across_currencies() -> None:
    assert comparable(1000, "JPY") > comparable(99999, "USD") > comparable(999_989, "KWD")
    assert comparable(1000, "JPY") == comparable(100_000, "USD") == comparable(1_000_000, "KWD")


@pytest.mark.parametrize(
    ("bound", "lower", "upper"),
    [
        ("999.99", 9999900, 9999900),
        ("999.99991", 10000000, 9999999),
        ("0", 0, 0),
        *((amount, 2**62, 2**62) for amount in ("1" + "0" * 30, "4437482594513646.0", "1" + "0" * 20, str(2**62))),
        ("0." + "0" * 39 + "1", 1, 0),
    ],
)
def test_a_bound_between_two_amounts_excludes_what_it_should(bound: str, lower: int, upper: int) -> None:
    assert comparable_bound(Decimal(bound), upwards=True) == lower
    assert comparable_bound(Decimal(bound), upwards=False) == upper


def test_the_largest_amount_of_every_currency_fits_a_64_bit_integer() -> None:
    assert all(comparable(MAX_AMOUNT_MINOR, currency) < 2**62 for currency in EXPONENTS)
