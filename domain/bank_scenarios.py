"""What the bank simulator does with which card: the one table that its rules and the documentation come from.

Numbers are those of Stripe's public test cards where it has one, so that existing test suites carry over; the rest are
Visa numbers of our own that begin with 490000. Any other valid number succeeds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from domain.acquiring import Decline
from domain.cards import Brand, parse_pan
from domain.money import EXPONENTS

LATE_S = 2.0
"""How long the bank takes over what it decides late."""


class ThreeDSecure(StrEnum):
    """Whether the payer must prove who they are. The gateway sees to it, before it asks the bank."""

    NONE = "none"
    OPTIONAL = "optional"
    REQUIRED = "required"


class Reply(StrEnum):
    """How the bank's answer to an authorisation comes."""

    PROMPT = "prompt"
    LATE = "late"
    """Pending at first; decided after LATE_S."""
    LOST = "lost"
    """The bank carries it out, and the first answer never arrives."""
    UNAVAILABLE_ONCE = "unavailable_once"
    """The first attempt is turned away without being carried out."""


class RefundReply(StrEnum):
    """How a refund to the card goes."""

    PROMPT = "prompt"
    LATE_SUCCESS = "late_success"
    LATE_FAILURE = "late_failure"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One test card, and everything that is particular about it."""

    id: str
    pan: str
    brand: Brand
    description: str
    decline: Decline | None = None
    """Why the bank refuses: always, or where one of the two limits below is set, beyond it."""
    declined_from_major: int | None = None
    """The smallest amount that is refused, in major units whatever the currency."""
    balance_major: int | None = None
    """What there is to spend, in major units, for each merchant and currency."""
    three_d_secure: ThreeDSecure = ThreeDSecure.NONE
    reply: Reply = Reply.PROMPT
    refund_reply: RefundReply = RefundReply.PROMPT
    disputed: bool = False
    """The payer disputes the charge afterwards."""

    @property
    def always_declined(self) -> bool:
        return self.decline is not None and self.declined_from_major is None and self.balance_major is None

    def decline_of(self, amount_minor: int, currency: str) -> Decline | None:
        """Why this amount is refused whatever was charged before; None where it is not."""
        if self.declined_from_major is not None:
            return self.decline if amount_minor >= _minor(self.declined_from_major, currency) else None
        return self.decline if self.always_declined else None

    def balance_minor(self, currency: str) -> int | None:
        return None if self.balance_major is None else _minor(self.balance_major, currency)


def _minor(major: int, currency: str) -> int:
    return int(Decimal(major).scaleb(EXPONENTS[currency]))


def _declined(decline_code: str, message: str, network_code: str) -> Decline:
    return Decline("card_declined", decline_code, message, network_code)


# Codes are Stripe's, network codes those of ISO 8583 field 39.
GENERIC_DECLINE = _declined("generic_decline", "The card was declined.", "05")
DO_NOT_HONOUR = _declined("do_not_honor", "The card was declined: the issuer gives no reason.", "05")
INSUFFICIENT_FUNDS = _declined("insufficient_funds", "The card has insufficient funds.", "51")
LOST_CARD = _declined("lost_card", "The card was declined: it is reported lost.", "41")
STOLEN_CARD = _declined("stolen_card", "The card was declined: it is reported stolen.", "43")
FRAUDULENT = _declined("fraudulent", "The card was declined: the payment looks fraudulent.", "59")
# Stripe's code means a limit on amounts, which is 61; 65 would be one on the number of payments.
VELOCITY_EXCEEDED = _declined("card_velocity_exceeded", "The card is over its balance or amount limit.", "61")
EXPIRED_CARD = Decline("expired_card", "expired_card", "The card has expired.", "54")
# The networks' own code for a wrong printed code; 82 is for the one on the chip or stripe, which no web shop sees.
INCORRECT_CVC = Decline("incorrect_cvc", "incorrect_cvc", "The card's security code is incorrect.", "N7")
PROCESSING_ERROR = Decline(
    "processing_error", "processing_error", "An error occurred while the card was processed.", "96"
)
REFUND_FAILED = Decline(
    "expired_or_canceled_card",
    "expired_or_canceled_card",
    "The money cannot go back to the card: it has expired or was cancelled.",
    "54",
)


def _success(pan: str, brand: Brand, name: str) -> Scenario:
    return Scenario(f"success_{brand}", pan, brand, f"{name}: succeeds.")


def _visa(scenario_id: str, pan: str, description: str, decline: Decline | None = None) -> Scenario:
    return Scenario(scenario_id, pan, Brand.VISA, description, decline)


def _authenticated(scenario_id: str, pan: str, description: str, decline: Decline | None = None) -> Scenario:
    return Scenario(scenario_id, pan, Brand.VISA, description, decline=decline, three_d_secure=ThreeDSecure.REQUIRED)


SCENARIOS: tuple[Scenario, ...] = (
    _success("4242424242424242", Brand.VISA, "Visa"),
    _success("5555555555554444", Brand.MASTERCARD, "Mastercard"),
    _success("378282246310005", Brand.AMEX, "American Express"),
    _success("6011111111111117", Brand.DISCOVER, "Discover"),
    _success("3056930009020004", Brand.DINERS, "Diners Club"),
    _success("3566002020360505", Brand.JCB, "JCB"),
    _success("6200000000000005", Brand.UNIONPAY, "UnionPay"),
    _visa("generic_decline", "4000000000000002", "Declined without a reason.", GENERIC_DECLINE),
    _visa("insufficient_funds", "4000000000009995", "Declined: insufficient funds.", INSUFFICIENT_FUNDS),
    _visa("lost_card", "4000000000009987", "Declined: the card is reported lost.", LOST_CARD),
    _visa("stolen_card", "4000000000009979", "Declined: the card is reported stolen.", STOLEN_CARD),
    _visa("expired_card", "4000000000000069", "Declined: the card has expired.", EXPIRED_CARD),
    _visa("incorrect_cvc", "4000000000000127", "Declined: the security code is incorrect.", INCORRECT_CVC),
    _visa("processing_error", "4000000000000119", "Declined: an error at the bank.", PROCESSING_ERROR),
    _visa("velocity_exceeded", "4000000000006975", "Declined: over the card's limit.", VELOCITY_EXCEEDED),
    _visa("do_not_honour", "4900000000000011", "Declined: do not honour.", DO_NOT_HONOUR),
    _visa("blocked_as_fraud", "4100000000000019", "Declined: blocked as fraud.", FRAUDULENT),
    Scenario(
        "balance_500",
        "4900000000000029",
        Brand.VISA,
        "Has a balance of 500.00 for each merchant and currency: succeeds until it is used up, then is declined for "
        "insufficient funds. What is voided or refunded can be spent again.",
        decline=INSUFFICIENT_FUNDS,
        balance_major=500,
    ),
    Scenario(
        "fraud_from_125",
        "4900000000000037",
        Brand.VISA,
        "Succeeds below 125.00; from 125.00 on declined as fraud.",
        decline=FRAUDULENT,
        declined_from_major=125,
    ),
    _authenticated("three_d_secure_required", "4000000000003220", "3-D Secure is required, then it succeeds."),
    _authenticated("three_d_secure_always", "4000002760003184", "3-D Secure is required each time, then it succeeds."),
    _authenticated(
        "three_d_secure_unless_set_up",
        "4000002500003155",
        "3-D Secure is required, then it succeeds. (At Stripe not for a card that was set up; here each time.)",
    ),
    _authenticated(
        "three_d_secure_declined",
        "4000008400001629",
        "3-D Secure is required; after it succeeded the bank declines.",
        GENERIC_DECLINE,
    ),
    _authenticated(
        "three_d_secure_insufficient_funds",
        "4000008260003178",
        "3-D Secure is required; after it succeeded the bank declines for insufficient funds.",
        INSUFFICIENT_FUNDS,
    ),
    Scenario(
        "three_d_secure_optional",
        "4000000000003055",
        Brand.VISA,
        "3-D Secure is supported and not required: succeeds without it.",
        three_d_secure=ThreeDSecure.OPTIONAL,
    ),
    _visa("stored_then_declined", "4000000000000341", "Can be stored, and is declined when charged.", GENERIC_DECLINE),
    Scenario(
        "late_success",
        "4900000000000045",
        Brand.VISA,
        "The bank decides two seconds later: succeeds.",
        reply=Reply.LATE,
    ),
    Scenario(
        "late_failure",
        "4900000000000052",
        Brand.VISA,
        "The bank decides two seconds later: declined.",
        decline=GENERIC_DECLINE,
        reply=Reply.LATE,
    ),
    Scenario(
        "bank_timeout",
        "4900000000000060",
        Brand.VISA,
        "The bank carries it out and its first answer never arrives: succeeds, charged once.",
        reply=Reply.LOST,
    ),
    Scenario(
        "bank_unavailable_once",
        "4900000000000078",
        Brand.VISA,
        "The bank turns the first attempt away: succeeds with the second.",
        reply=Reply.UNAVAILABLE_ONCE,
    ),
    Scenario(
        "refund_pending_then_succeeds",
        "4000000000007726",
        Brand.VISA,
        "Succeeds. A refund stays pending for two seconds, then succeeds.",
        refund_reply=RefundReply.LATE_SUCCESS,
    ),
    Scenario(
        "refund_pending_then_fails",
        "4000000000005126",
        Brand.VISA,
        "Succeeds. A refund stays pending for two seconds, then fails.",
        refund_reply=RefundReply.LATE_FAILURE,
    ),
    Scenario("disputed", "4000000000000259", Brand.VISA, "Succeeds. The payer disputes it later.", disputed=True),
)
_BY_PAN: Mapping[str, Scenario] = {scenario.pan: scenario for scenario in SCENARIOS}
_BY_ID: Mapping[str, Scenario] = {scenario.id: scenario for scenario in SCENARIOS}
assert len(_BY_PAN) == len(_BY_ID) == len(SCENARIOS)
assert all(parse_pan(scenario.pan) == (scenario.pan, scenario.brand) for scenario in SCENARIOS)
assert {scenario.brand for scenario in SCENARIOS if scenario.id.startswith("success_")} == set(Brand)
assert {scenario.reply for scenario in SCENARIOS} == set(Reply)
assert {scenario.refund_reply for scenario in SCENARIOS} == set(RefundReply)
assert {scenario.three_d_secure for scenario in SCENARIOS} == set(ThreeDSecure)
# A limit without a reason to give for it would never decline.
assert all(
    scenario.decline for scenario in SCENARIOS if scenario.declined_from_major is not None or scenario.balance_major
)

MAGIC_AMOUNTS: Mapping[int, Decline] = {
    400_005: GENERIC_DECLINE,
    400_041: LOST_CARD,
    400_043: STOLEN_CARD,
    400_051: INSUFFICIENT_FUNDS,
    400_054: EXPIRED_CARD,
    400_059: FRAUDULENT,
    400_061: VELOCITY_EXCEEDED,
    400_096: PROCESSING_ERROR,
}
"""Amounts in minor units that are declined whatever the card, or without one, where MAGIC_AMOUNTS is on: 400,000 and
the network code, which is USD 4000.51 for insufficient funds."""
assert all(amount == 400_000 + int(decline.network_code) for amount, decline in MAGIC_AMOUNTS.items())


def scenario_of(pan: str) -> Scenario | None:
    """What is particular about this card. None for any other, which succeeds."""
    return _BY_PAN.get(pan)


def scenario_by_id(scenario_id: str) -> Scenario | None:
    return _BY_ID.get(scenario_id)


def three_d_secure(pan: str) -> ThreeDSecure:
    scenario = _BY_PAN.get(pan)
    return scenario.three_d_secure if scenario else ThreeDSecure.NONE
