"""The list of test cards, as anybody reads it."""

from domain.bank_scenarios import MAGIC_AMOUNTS, SCENARIOS
from tests.factories import Psp


def test_anybody_can_read_every_card(psp: Psp) -> None:
    answer = psp.get("/bank/scenarios")

    assert answer.status_code == 200
    by_number = {one["number"]: one for one in answer.json()["scenarios"]}
    assert by_number.keys() == {one.pan for one in SCENARIOS}
    assert by_number["4000000000009995"] == {
        "id": "insufficient_funds",
        "number": "4000000000009995",
        "brand": "visa",
        "description": "Declined: insufficient funds.",
        "threeDSecure": "none",
        "succeeds": False,
        "failure": {
            "code": "card_declined",
            "declineCode": "insufficient_funds",
            "message": "The card has insufficient funds.",
            "networkCode": "51",
        },
        "declinedFrom": None,
        "balance": None,
        "reply": "prompt",
        "refundReply": "prompt",
        "disputed": False,
    }
    assert by_number["4900000000000029"]["balance"] == 500
    assert by_number["4900000000000037"]["declinedFrom"] == 125


def test_magic_amounts_are_listed_where_they_are_on(psp: Psp, patient_psp: Psp) -> None:
    assert psp.get("/bank/scenarios").json()["magicAmounts"] == []

    listed = patient_psp.get("/bank/scenarios").json()["magicAmounts"]
    assert {one["amountMinor"]: one["failure"]["networkCode"] for one in listed} == {
        amount_minor: decline.network_code for amount_minor, decline in MAGIC_AMOUNTS.items()
    }
