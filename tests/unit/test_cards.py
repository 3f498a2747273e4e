"""Card numbers: read as people type them, refused for one clear reason, and never repeated in an error."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.cards import (
    BRANDS,
    Brand,
    CardDetails,
    CardInvalid,
    brand_of,
    full_year,
    masked,
    parse_pan,
    passes_luhn,
    require_cvc,
    require_not_expired,
)

LUHN = "Invalid card number (fails Luhn check)"
DIGITS = "Invalid card number (12 to 19 digits are needed)"
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@st.composite
def pans(draw: st.DrawFn, brands: st.SearchStrategy[Brand] = st.sampled_from(Brand)) -> tuple[str, Brand]:  # noqa: B008
    """A number of a brand, with its check digit."""
    brand = draw(brands)
    low, high = draw(st.sampled_from(BRANDS[brand].prefixes))
    length = draw(st.sampled_from(sorted(BRANDS[brand].lengths)))
    body = str(draw(st.integers(low, high)))
    body += "".join(draw(st.lists(st.sampled_from("0123456789"), min_size=length - len(body) - 1, max_size=length)))
    body = body[: length - 1]
    return next(body + check for check in "0123456789" if passes_luhn(body + check)), brand


@given(pans())
def test_a_number_of_each_brand_is_read(made: tuple[str, Brand]) -> None:
    assert parse_pan(made[0]) == made


@given(pans(), st.data())
def test_spaces_and_dashes_are_no_part_of_it(made: tuple[str, Brand], data: st.DataObject) -> None:
    pan, _ = made
    separators = data.draw(st.lists(st.sampled_from(["", " ", "-"]), min_size=len(pan), max_size=len(pan)))
    typed = "".join(digit + separator for digit, separator in zip(pan, separators, strict=True))

    assert parse_pan(typed) == made


@given(pans(), st.data())
def test_one_wrong_digit_is_noticed(made: tuple[str, Brand], data: st.DataObject) -> None:
    pan, _ = made
    at = data.draw(st.integers(0, len(pan) - 1))
    wrong = data.draw(st.sampled_from(sorted(set("0123456789") - {pan[at]})))

    with pytest.raises(CardInvalid) as caught:
        parse_pan(pan[:at] + wrong + pan[at + 1 :])

    assert str(caught.value) == LUHN


@given(pans(), st.data())
def test_an_error_holds_nothing_of_the_number(made: tuple[str, Brand], data: st.DataObject) -> None:
    pan = made[0][:-1]
    with pytest.raises(CardInvalid) as caught:
        parse_pan(pan + data.draw(st.sampled_from([d for d in "0123456789" if not passes_luhn(pan + d)])))

    assert not any(pan[start : start + 5] in str(caught.value) for start in range(len(pan) - 4))
    assert caught.value.__context__ is None


@given(pans())
def test_only_six_and_four_digits_are_shown(made: tuple[str, Brand]) -> None:
    pan, brand = made
    card = CardDetails(pan, brand, 12, 2030)

    assert card.masked == masked(pan)
    assert len(masked(pan)) == len(pan)
    assert masked(pan)[:6] == pan[:6]
    assert masked(pan)[-4:] == pan[-4:]
    assert set(masked(pan)[6:-4]) == {"X"}
    assert pan not in repr(card)


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "4242",
        "42424242424242424242",
        "4242424242424242x",
        "4242.4242.4242.4242",
        "\u0664\u0662\u0664\u0662\u0664\u0662\u0664\u0662\u0664\u0662\u0664\u0662\u0664\u0662\u0664\u0662",
        "424242424242424\u0662",
        "\uff14242424242424242",
        "4242\u00a04242\u00a04242\u00a04242",
        "4242 4242 4242 4242\n",
        "+4242424242424242",
        " " * 10_000 + "4242424242424242",
    ],
    ids=ascii,
)
def test_what_is_not_digits_is_refused(typed: str) -> None:
    with pytest.raises(CardInvalid) as caught:
        parse_pan(typed)

    assert str(caught.value) == DIGITS


@pytest.mark.parametrize(
    ("pan", "reason"),
    [
        ("4242424242424241", "fails Luhn check"),
        ("9999999999999995", "of no brand that is accepted"),
        ("42424242424242424", "fails Luhn check"),
        ("424242424242424", "visa has no numbers of 15 digits"),
        ("550000000000000004", "mastercard has no numbers of 18 digits"),
    ],
)
def test_the_reason_is_told(pan: str, reason: str) -> None:
    with pytest.raises(CardInvalid, match=reason):
        parse_pan(pan)


@pytest.mark.parametrize(
    ("beginning", "brand"),
    [
        ("4", Brand.VISA),
        ("51", Brand.MASTERCARD),
        ("2221", Brand.MASTERCARD),
        ("2720", Brand.MASTERCARD),
        ("2721", None),
        ("2220", None),
        ("34", Brand.AMEX),
        ("37", Brand.AMEX),
        ("6011", Brand.DISCOVER),
        ("644", Brand.DISCOVER),
        ("65", Brand.DISCOVER),
        ("36", Brand.DINERS),
        ("3095", Brand.DINERS),
        ("3528", Brand.JCB),
        ("3589", Brand.JCB),
        ("3590", None),
        ("62", Brand.UNIONPAY),
        ("81", Brand.UNIONPAY),
        ("1", None),
    ],
)
def test_the_brand_is_known_by_the_first_digits(beginning: str, brand: Brand | None) -> None:
    assert brand_of(beginning.ljust(16, "0")) is brand


@given(st.text("0123456789", min_size=12, max_size=19))
def test_no_number_has_two_brands(pan: str) -> None:
    matching = [
        brand
        for brand, rules in BRANDS.items()
        for low, high in rules.prefixes
        if low <= int(pan[: len(str(low))]) <= high
    ]

    assert len(matching) <= 1
    assert matching == ([brand_of(pan)] if brand_of(pan) else [])


@pytest.mark.parametrize(("typed", "year"), [(0, 2000), (26, 2026), (99, 2099), (2026, 2026), (2099, 2099)])
def test_a_year_of_two_digits_is_one_of_this_century(typed: int, year: int) -> None:
    assert full_year(typed) == year


@pytest.mark.parametrize("typed", [-1, 100, 999, 1999, 2100, 20_26_0])
def test_other_years_are_refused(typed: int) -> None:
    with pytest.raises(CardInvalid):
        full_year(typed)


@pytest.mark.parametrize(("month", "year"), [(11, 2026), (12, 2026), (1, 2027), (12, 2076)])
def test_a_card_is_good_until_the_end_of_its_month(month: int, year: int) -> None:
    require_not_expired(month, year, NOW)


@pytest.mark.parametrize(("month", "year"), [(10, 2026), (12, 2025), (0, 2027), (13, 2027), (1, 2077)])
def test_an_expired_or_impossible_date_is_refused(month: int, year: int) -> None:
    with pytest.raises(CardInvalid):
        require_not_expired(month, year, NOW)


@pytest.mark.parametrize("brand", Brand)
def test_a_security_code_has_as_many_digits_as_the_brand_prints(brand: Brand) -> None:
    length = 4 if brand is Brand.AMEX else 3
    require_cvc("1" * length, brand)
    for wrong in ("", "1" * (length - 1), "1" * (length + 1), "x" * length, "\u0661" * length, "1" * length + "\n"):
        with pytest.raises(CardInvalid):
            require_cvc(wrong, brand)
