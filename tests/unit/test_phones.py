"""A phone number has one form, however it was typed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.phones import PhoneInvalid, e164


@pytest.mark.parametrize(
    ("typed", "country", "normalised"),
    [
        ("+442079460018", None, "+442079460018"),
        ("+44 20 7946 0018", None, "+442079460018"),
        ("+44 (0) 20-7946-0018", None, "+442079460018"),
        ("020 7946 0018", "GB", "+442079460018"),
        ("00 44 20 7946 0018", "DE", "+442079460018"),
        ("(415) 555-2671", "US", "+14155552671"),
        ("1-415-555-2671", "US", "+14155552671"),
        ("415.555.2671 ext. 5", "US", "+14155552671"),
        ("tel:+1-415-555-2671", None, "+14155552671"),
        ("030 123456", "DE", "+4930123456"),
        # The country says how a number is dialled there, and no more: one may have a number from elsewhere.
        ("+44 20 7946 0018", "US", "+442079460018"),
        ("06 1234 5678", "IT", "+390612345678"),  # where the zero is part of the number
    ],
)
def test_a_number_becomes_e164(typed: str, country: str | None, normalised: str) -> None:
    assert e164(typed, country) == normalised


@pytest.mark.parametrize(
    ("typed", "country"),
    [
        ("020 7946 0018", None),
        ("no number", "GB"),
        ("", "GB"),
        ("+", None),
        ("+44", None),
        ("+999 123 456 789", None),
        ("+44 20", None),
        ("12", "GB"),
        ("555-2671", "US"),  # its area code is missing
        ("+44 20 7946 0018 0018 0018", None),
        ("020 7946 0018", "AQ"),  # no number plan of its own
    ],
)
def test_what_cannot_be_a_number_is_refused(typed: str, country: str | None) -> None:
    with pytest.raises(PhoneInvalid):
        e164(typed, country)


@given(st.text(max_size=50), st.sampled_from(["GB", "US", "DE", "AQ", None]))
def test_any_text_is_a_number_or_is_refused(typed: str, country: str | None) -> None:
    try:
        normalised = e164(typed, country)
    except PhoneInvalid:
        return
    assert normalised.startswith("+")
    assert normalised[1:].isascii() and normalised[1:].isdigit()
    assert e164(normalised, None) == normalised
