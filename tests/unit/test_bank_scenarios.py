"""The table of test cards: complete, consistent, and what the documentation shows."""

import re
from collections.abc import Callable

import pytest

from domain.acquiring import Decline
from domain.bank_scenarios import (
    FRAUDULENT,
    INSUFFICIENT_FUNDS,
    MAGIC_AMOUNTS,
    SCENARIOS,
    RefundReply,
    Reply,
    Scenario,
    ThreeDSecure,
    scenario_by_id,
    scenario_of,
    three_d_secure,
)
from domain.cards import Brand, brand_of, parse_pan
from schemas.bank import scenario_list
from tests.docs.markdown import code, read, rows, section

BY_ID = {scenario.id: scenario for scenario in SCENARIOS}

# Numbers that test suites written against Stripe use, and what such a suite expects of them.
STRIPES = {
    "4242424242424242": "success_visa",
    "5555555555554444": "success_mastercard",
    "378282246310005": "success_amex",
    "6011111111111117": "success_discover",
    "3056930009020004": "success_diners",
    "3566002020360505": "success_jcb",
    "6200000000000005": "success_unionpay",
    "4000000000000002": "generic_decline",
    "4000000000009995": "insufficient_funds",
    "4000000000009987": "lost_card",
    "4000000000009979": "stolen_card",
    "4000000000000069": "expired_card",
    "4000000000000127": "incorrect_cvc",
    "4000000000000119": "processing_error",
    "4000000000006975": "velocity_exceeded",
    "4100000000000019": "blocked_as_fraud",
    "4000000000000341": "stored_then_declined",
    "4000000000003220": "three_d_secure_required",
    "4000002760003184": "three_d_secure_always",
    "4000002500003155": "three_d_secure_unless_set_up",
    "4000008400001629": "three_d_secure_declined",
    "4000008260003178": "three_d_secure_insufficient_funds",
    "4000000000003055": "three_d_secure_optional",
    "4000000000007726": "refund_pending_then_succeeds",
    "4000000000005126": "refund_pending_then_fails",
    "4000000000000259": "disputed",
}
NETWORK_CODES = {
    "generic_decline": "05",
    "do_not_honour": "05",
    "insufficient_funds": "51",
    "lost_card": "41",
    "stolen_card": "43",
    "expired_card": "54",
    "incorrect_cvc": "N7",
    "processing_error": "96",
    "velocity_exceeded": "61",
    "blocked_as_fraud": "59",
}

each_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.id)


@each_scenario
def test_each_card_could_be_charged(scenario: Scenario) -> None:
    assert parse_pan(scenario.pan) == (scenario.pan, scenario.brand)
    assert scenario_of(scenario.pan) is scenario
    assert scenario_by_id(scenario.id) is scenario


def test_no_number_and_no_id_stands_twice() -> None:
    assert (
        len({scenario.pan for scenario in SCENARIOS}) == len({scenario.id for scenario in SCENARIOS}) == len(SCENARIOS)
    )


@pytest.mark.parametrize("brand", Brand)
def test_each_brand_has_a_card_that_succeeds(brand: Brand) -> None:
    scenario = BY_ID[f"success_{brand}"]

    assert brand_of(scenario.pan) is brand
    assert scenario.decline is None


def test_stripes_numbers_do_what_they_do_there() -> None:
    assert {pan: scenario.id for pan in STRIPES if (scenario := scenario_of(pan))} == STRIPES


def test_our_own_numbers_are_told_apart_by_their_beginning() -> None:
    own = {scenario.pan for scenario in SCENARIOS} - STRIPES.keys()

    assert own
    assert all(pan.startswith("490000") for pan in own)


@pytest.mark.parametrize("scenario_id", NETWORK_CODES)
def test_a_decline_has_its_response_code(scenario_id: str) -> None:
    decline = BY_ID[scenario_id].decline

    assert decline is not None
    assert decline.network_code == NETWORK_CODES[scenario_id]


def declines() -> list[Decline]:
    return [scenario.decline for scenario in SCENARIOS if scenario.decline] + list(MAGIC_AMOUNTS.values())


@pytest.mark.parametrize("decline", declines(), ids=lambda decline: decline.decline_code)
def test_a_decline_is_complete(decline: Decline) -> None:
    assert re.fullmatch(r"[0-9A-Z]{2}", decline.network_code)
    assert re.fullmatch(r"[a-z_]+", decline.code)
    assert re.fullmatch(r"[a-z_]+", decline.decline_code)
    assert decline.message.endswith(".")


@pytest.mark.parametrize(("amount_minor", "currency"), [(12_499, "USD"), (124, "JPY"), (124_999, "KWD")])
def test_below_the_limit_the_fraud_card_succeeds(amount_minor: int, currency: str) -> None:
    assert BY_ID["fraud_from_125"].decline_of(amount_minor, currency) is None
    assert BY_ID["fraud_from_125"].decline_of(amount_minor + 1, currency) is FRAUDULENT


@pytest.mark.parametrize(("currency", "minor"), [("USD", 50_000), ("JPY", 500), ("KWD", 500_000)])
def test_the_balance_is_five_hundred_of_any_currency(currency: str, minor: int) -> None:
    scenario = BY_ID["balance_500"]

    assert scenario.balance_minor(currency) == minor
    assert scenario.decline_of(minor, currency) is None
    assert scenario.decline is INSUFFICIENT_FUNDS


@pytest.mark.parametrize(
    ("matches", "ids"),
    [
        (lambda one: one.reply is Reply.LATE, {"late_success", "late_failure"}),
        (lambda one: one.reply is Reply.LOST, {"bank_timeout"}),
        (lambda one: one.reply is Reply.UNAVAILABLE_ONCE, {"bank_unavailable_once"}),
        (lambda one: one.refund_reply is RefundReply.LATE_SUCCESS, {"refund_pending_then_succeeds"}),
        (lambda one: one.refund_reply is RefundReply.LATE_FAILURE, {"refund_pending_then_fails"}),
        (lambda one: one.disputed, {"disputed"}),
    ],
)
def test_what_happens_beside_the_decision_happens_to_these(matches: Callable[[Scenario], bool], ids: set[str]) -> None:
    assert {scenario.id for scenario in SCENARIOS if matches(scenario)} == ids


def test_three_d_secure_is_the_cards() -> None:
    assert three_d_secure("4000000000003220") is ThreeDSecure.REQUIRED
    assert three_d_secure("4000000000003055") is ThreeDSecure.OPTIONAL
    assert three_d_secure("4242424242424242") is ThreeDSecure.NONE
    assert three_d_secure("4111111111111111") is ThreeDSecure.NONE


def test_any_other_card_is_nothing_particular() -> None:
    assert scenario_of("4111111111111111") is None


def test_the_list_of_the_api_is_the_table() -> None:
    shown = scenario_list(magic_amounts=True)

    assert [(one.id, one.number, one.description) for one in shown.scenarios] == [
        (one.id, one.pan, one.description) for one in SCENARIOS
    ]
    assert {one.amount_minor: one.failure.network_code for one in shown.magic_amounts} == {
        amount_minor: decline.network_code for amount_minor, decline in MAGIC_AMOUNTS.items()
    }
    assert scenario_list(magic_amounts=False).magic_amounts == []


def test_the_documentation_shows_the_table() -> None:
    shown = [[code(cell) for cell in row] for row in rows(section(read("api_documentation.md"), "## Test cards"))]

    cards = [[scenario.pan, scenario.id, scenario.description] for scenario in SCENARIOS]
    amounts = [[str(amount), one.code, one.decline_code, one.network_code] for amount, one in MAGIC_AMOUNTS.items()]
    assert [row for row in shown if row[0].isdigit() and len(row) == 3 and len(row[0]) > 3] == cards
    assert [row for row in shown if len(row) == 4] == amounts
