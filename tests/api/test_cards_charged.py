"""Every test card does what the public list of them promises."""

import time
from collections.abc import Callable
from typing import Any

import pymongo
import pytest

from core import ids
from domain.bank_scenarios import SCENARIOS, Scenario, ThreeDSecure
from tests.books import wait_until_idle
from tests.factories import Account, Psp, card

WAIT = {"Prefer": "wait=30"}
WITHIN_EVERY_LIMIT = 100
Row = dict[str, Any]


@pytest.fixture(scope="module")
def promises(shared_psp: Psp) -> dict[str, Row]:
    """The list as anybody reads it, by id."""
    return {row["id"]: row for row in shared_psp.get("/bank/scenarios").json()["scenarios"]}


def rows(wanted: Callable[[Scenario], object] = lambda one: True) -> pytest.MarkDecorator:
    """Each row of the table that is wanted; the test reads what it promises from the public list."""
    return pytest.mark.parametrize("scenario_id", [one.id for one in SCENARIOS if wanted(one)])


def typed(row: Row) -> Row:
    return card(row["number"], cvc="1234" if row["brand"] == "amex" else "123")


def charged(psp: Psp, account: Account, row: Row, amount: float = WITHIN_EVERY_LIMIT, **fields: Any) -> Row:
    """The payment at its end, the cardholder having approved it where 3-D Secure asks."""
    payment: Row = psp.charge(account, WAIT, card=typed(row), paymentAmount=amount, **fields).json()
    if payment["status"] == "requires_action":
        assert psp.post(f"/payments/{payment['id']}/authenticate", headers=account.key).status_code == 200
        end = ("authorized" if fields.get("capture") == "manual" else "completed") if row["succeeds"] else "failed"
        payment = psp.reach(account, payment["id"], end)
    return payment


def refund(psp: Psp, account: Account, payment: Row, amount: float) -> Row:
    answer = psp.post("/refunds", json={"paymentId": payment["id"], "amount": amount}, headers=account.key)
    assert (answer.status_code, answer.json()["status"]) == (201, "pending"), answer.text
    return dict(answer.json())


def refunded(psp: Psp, account: Account, refund: Row) -> Row:
    """The refund once the bank has decided."""
    deadline = time.monotonic() + 30
    while refund["status"] == "pending":
        assert time.monotonic() < deadline, refund
        time.sleep(0.05)
        refund = psp.get(f"/refunds/{refund['id']}", headers=account.key).json()
    return refund


def test_the_list_is_the_table(promises: dict[str, Row]) -> None:
    assert promises.keys() == {one.id for one in SCENARIOS}


@rows()
def test_a_charge_ends_as_promised_and_the_bank_has_it_once(
    psp: Psp, merchant: Account, promises: dict[str, Row], scenario_id: str, database: pymongo.database.Database[Row]
) -> None:
    row = promises[scenario_id]
    account = psp.register() if row["balance"] else merchant

    payment = charged(psp, account, row)

    expected = ("completed", 10_000, None) if row["succeeds"] else ("failed", 0, row["failure"])
    assert (payment["status"], payment["amountCapturedMinor"], payment["failure"]) == expected
    assert payment["card"]["brand"] == row["brand"]
    assert payment["card"]["last4"] == row["number"][-4:]
    authorisations = list(database["bank_authorisations"].find({"_id": ids.derived("op", payment["id"], "authorise")}))
    assert len(authorisations) == 1
    assert authorisations[0].get("captured_minor", 0) == payment["amountCapturedMinor"]
    wait_until_idle(database, account.id)
    types = [event["type"] for event in database["events"].find({"stream_id": payment["id"]})]
    assert ("payment.requires_action" in types) == (row["threeDSecure"] == "required")


@rows(lambda one: one.three_d_secure is ThreeDSecure.REQUIRED)
def test_a_cardholder_who_refuses_is_charged_nothing(
    psp: Psp, merchant: Account, promises: dict[str, Row], scenario_id: str
) -> None:
    row = promises[scenario_id]
    asked = psp.charge(merchant, WAIT, card=typed(row), capture="manual").json()
    assert (asked["status"], asked["nextAction"]["type"]) == ("requires_action", "redirect")

    refused = psp.post(f"/payments/{asked['id']}/authenticate", json={"result": "failed"}, headers=merchant.key)

    assert refused.json()["status"] == "failed"
    assert refused.json()["failure"]["code"] == "authentication_failed"


@rows(lambda one: not one.always_declined)
def test_a_refund_goes_as_promised(psp: Psp, merchant: Account, promises: dict[str, Row], scenario_id: str) -> None:
    row = promises[scenario_id]
    account = psp.register() if row["balance"] else merchant
    payment = charged(psp, account, row)

    asked = refund(psp, account, payment, 40)

    if row["refundReply"] == "late_failure":
        failed = refunded(psp, account, asked)
        assert (failed["status"], failed["failure"]["code"]) == ("failed", "expired_or_canceled_card")
        after = psp.get(f"/payments/{payment['id']}", headers=account.key).json()
        assert (after["status"], after["amountRefundedMinor"]) == ("completed", 0)
        refund(psp, account, payment, 100)  # what was reserved is free again
    else:
        assert refunded(psp, account, asked)["status"] == "succeeded"
        after = psp.get(f"/payments/{payment['id']}", headers=account.key).json()
        assert (after["status"], after["amountRefundedMinor"]) == ("partially_refunded", 4_000)


@rows(lambda one: one.declined_from_major)
def test_a_limit_is_where_the_list_says(
    psp: Psp, merchant: Account, promises: dict[str, Row], scenario_id: str
) -> None:
    row = promises[scenario_id]
    limit = row["declinedFrom"]
    below, at = charged(psp, merchant, row, limit - 0.01), charged(psp, merchant, row, limit)
    assert (below["status"], below["failure"]) == ("completed", None)
    assert (at["status"], at["failure"]) == ("failed", row["failure"])


@rows(lambda one: one.balance_major)
def test_a_balance_is_used_up_and_comes_back(psp: Psp, promises: dict[str, Row], scenario_id: str) -> None:
    row = promises[scenario_id]
    balance = row["balance"]
    account = psp.register()
    first = charged(psp, account, row, balance - 1)
    over = charged(psp, account, row, 1.01)
    assert (first["status"], over["status"], over["failure"]) == ("completed", "failed", row["failure"])
    assert charged(psp, account, row, balance, currency="EUR")["status"] == "completed"
    assert charged(psp, psp.register(), row, balance)["status"] == "completed"

    assert refunded(psp, account, refund(psp, account, first, 50))["status"] == "succeeded"
    held = charged(psp, account, row, 51, capture="manual")
    assert held["status"] == "authorized"
    assert charged(psp, account, row, 0.01)["status"] == "failed"
    psp.post(f"/payments/{held['id']}/cancel", headers=account.key)
    deadline = time.monotonic() + 30  # the bank is told after the answer
    while charged(psp, account, row, 51)["status"] == "failed":
        assert time.monotonic() < deadline


@rows(lambda one: one.id in ("stored_then_declined", "success_visa", "three_d_secure_required"))
def test_a_card_can_be_stored_whatever_its_charges_do(
    psp: Psp, merchant: Account, promises: dict[str, Row], scenario_id: str
) -> None:
    row = promises[scenario_id]
    customer = psp.post("/customers", json={"name": "Grace Hopper"}, headers=merchant.key).json()
    path = f"/customers/{customer['id']}"

    saved = psp.post(f"{path}/cards", json={"card": typed(row)}, headers=merchant.key)
    assert saved.status_code == 201, saved.text
    charge = {"paymentAmount": 1, "currency": "USD", "cardId": saved.json()["id"]}
    payment = psp.post(f"{path}/payments", json=charge, headers={**merchant.key, **WAIT}).json()

    if row["threeDSecure"] == "required":
        assert payment["status"] == "requires_action"
    else:
        assert payment["status"] == ("completed" if row["succeeds"] else "failed")
