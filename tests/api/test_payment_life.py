"""What can become of a payment after its charge: 3-D Secure, authorisation, capture, cancellation, expiry."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pymongo
import pytest

from domain.payments import ACCEPTS, Command, Status
from tests.factories import DECLINED, NEEDS_3DS, VISA, Account, Psp, card
from tests.receiver import Receiver

Database = pymongo.database.Database[dict[str, Any]]
WAIT = {"Prefer": "wait=30"}


def events_of(database: Database, payment_id: str) -> list[dict[str, Any]]:
    return list(database["events"].find({"stream_id": payment_id}).sort("sequence", 1))


def test_a_card_that_is_good_completes(psp: Psp, merchant: Account) -> None:
    payment = psp.charge(merchant, WAIT, card=card()).json()

    assert (payment["status"], payment["paymentMethod"], payment["failure"]) == ("completed", "card", None)
    assert (payment["card"]["number"], payment["card"]["cvc"]) == ("424242XXXXXX4242", "XXX")


def test_a_declined_payment_fails_and_says_why(psp: Psp, merchant: Account) -> None:
    payment = psp.charge(merchant, WAIT, card=card(DECLINED)).json()

    assert payment["status"] == "failed"
    failure = payment["failure"]
    assert (failure["code"], failure["declineCode"], failure["networkCode"]) == (
        "card_declined",
        "insufficient_funds",
        "51",
    )
    assert failure["message"]
    assert payment["amountCapturedMinor"] == 0


def test_an_authorised_payment_is_captured_whole_or_in_part(psp: Psp, merchant: Account) -> None:
    whole, part = psp.authorised(merchant), psp.authorised(merchant)

    answers = [
        psp.post(f"/payments/{whole['id']}/capture", headers=merchant.key),
        psp.post(f"/payments/{part['id']}/capture", json={"amount": 60.25}, headers=merchant.key),
    ]

    assert [answer.status_code for answer in answers] == [200, 200]
    captured = [answer.json() for answer in answers]
    assert [payment["status"] for payment in captured] == ["completed"] * 2
    assert [payment["amountCapturedMinor"] for payment in captured] == [10050, 6025]
    assert whole["amountCapturedMinor"] == 0
    assert whole["authorizationExpiresAt"] is not None
    assert captured[0]["authorizationExpiresAt"] is None


@pytest.mark.parametrize(
    ("amount", "status", "code"),
    [
        (100.51, 409, "amount_exceeded"),
        (0, 422, "validation_error"),
        (-1, 422, "validation_error"),
        (1.001, 422, "validation_error"),
        ("1", 422, "validation_error"),
        (10**15, 422, "validation_error"),
    ],
)
def test_an_amount_that_cannot_be_captured_changes_nothing(
    psp: Psp, merchant: Account, amount: object, status: int, code: str
) -> None:
    held = psp.authorised(merchant)

    answer = psp.post(f"/payments/{held['id']}/capture", json={"amount": amount}, headers=merchant.key)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert psp.get(f"/payments/{held['id']}", headers=merchant.key).json() == held


def test_cancelling_an_authorised_payment_releases_the_money_at_the_bank(
    psp: Psp, merchant: Account, database: Database
) -> None:
    held = psp.authorised(merchant)

    cancelled = psp.post(f"/payments/{held['id']}/cancel", headers=merchant.key)

    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    told(database, held["id"])


def told(database: Database, payment_id: str) -> None:
    """Returns once the bank has confirmed all that it was to be told."""
    with database.client.watch(full_document="updateLookup", max_await_time_ms=50) as stream:
        for _ in range(600):
            row = database["payments"].find_one({"_id": payment_id})
            if row is not None and "intents" not in row:
                return
            stream.try_next()
    raise AssertionError("the bank was not told")


def test_an_authorisation_that_nobody_captures_expires(psp: Psp, merchant: Account, database: Database) -> None:
    held = psp.authorised(merchant)
    expires_at = datetime.fromisoformat(held["authorizationExpiresAt"])
    assert timedelta(days=7) - timedelta(minutes=1) < expires_at - datetime.now(UTC) <= timedelta(days=7)

    past = datetime.now(UTC) - timedelta(seconds=1)
    database["payments"].update_one({"_id": held["id"]}, {"$set": {"acts_at": past, "due_at": past}})

    expired = psp.reach(merchant, held["id"], "expired")
    assert expired["authorizationExpiresAt"] is None
    refused = psp.post(f"/payments/{held['id']}/capture", headers=merchant.key)
    assert (refused.status_code, refused.json()["code"]) == (409, "invalid_state")
    told(database, held["id"])


def test_3d_secure_asks_the_cardholder_before_the_bank(psp: Psp, merchant: Account, database: Database) -> None:
    asked = psp.charge(merchant, WAIT, card=card(NEEDS_3DS)).json()

    assert asked["status"] == "requires_action"
    assert asked["nextAction"]["type"] == "redirect"
    answer = psp.post(f"/payments/{asked['id']}/authenticate", headers=merchant.key)
    assert (answer.status_code, answer.json()["status"], answer.json()["nextAction"]) == (200, "processing", None)
    psp.reach(merchant, asked["id"], "completed")


def test_a_cardholder_who_refuses_fails_the_payment(psp: Psp, merchant: Account) -> None:
    asked = psp.charge(merchant, WAIT, card=card(NEEDS_3DS)).json()

    failed = psp.post(f"/payments/{asked['id']}/authenticate", json={"result": "failed"}, headers=merchant.key).json()

    assert (failed["status"], failed["failure"]["code"]) == ("failed", "authentication_failed")
    assert (failed["failure"]["declineCode"], failed["failure"]["networkCode"]) == (None, None)


PATHS = {Command.CAPTURE: "capture", Command.CANCEL: "cancel", Command.AUTHENTICATE: "authenticate"}


def in_state(psp: Psp, patient_psp: Psp, account: Account, status: Status) -> dict[str, Any]:
    """A payment of this state, brought there by what a client can do."""
    if status is Status.PENDING:
        pending: dict[str, Any] = patient_psp.charge(account).json()
        return pending
    if status is Status.AUTHORIZED:
        return psp.authorised(account)
    if status is Status.REQUIRES_ACTION:
        asked: dict[str, Any] = psp.charge(account, WAIT, card=card(NEEDS_3DS)).json()
        return asked
    if status is Status.CANCELLED:
        held = psp.authorised(account)
        return dict(psp.post(f"/payments/{held['id']}/cancel", headers=account.key).json())
    if status is Status.FAILED:
        return dict(psp.charge(account, WAIT, card=card(DECLINED)).json())
    paid = psp.completed(account)
    if status in (Status.PARTIALLY_REFUNDED, Status.REFUNDED):
        part = {} if status is Status.REFUNDED else {"amount": 1}
        psp.post("/refunds", json={"paymentId": paid["id"], **part}, headers=account.key)
        return psp.reach(account, paid["id"], status)
    return paid


@pytest.mark.parametrize("status", sorted(set(Status) - {Status.PROCESSING, Status.EXPIRED}))
def test_what_the_table_does_not_allow_is_a_409_and_changes_nothing(
    psp: Psp, patient_psp: Psp, merchant: Account, status: Status
) -> None:
    payment = in_state(psp, patient_psp, merchant, status)
    refused = [command for command in Command if command not in ACCEPTS[status]]

    for command in refused:
        if command is Command.REFUND:
            answer = psp.post("/refunds", json={"paymentId": payment["id"]}, headers=merchant.key)
        else:
            answer = psp.post(f"/payments/{payment['id']}/{PATHS[command]}", headers=merchant.key)
        assert (answer.status_code, answer.json()["code"]) == (409, "invalid_state"), answer.text
        assert answer.json()["detail"] == f"Transaction '{payment['id']}' is {status}; it cannot be {command}."

    assert psp.get(f"/payments/{payment['id']}", headers=merchant.key).json() == payment


@pytest.mark.parametrize("path", sorted(PATHS.values()))
def test_another_accounts_payment_is_not_there(psp: Psp, merchant: Account, path: str) -> None:
    held, other = psp.authorised(merchant), psp.register("merchant")

    for payment_id in (held["id"], "txn_none"):
        answer = psp.post(f"/payments/{payment_id}/{path}", headers=other.key)
        assert (answer.status_code, answer.json()["detail"]) == (
            404,
            f"Transaction '{payment_id}' not found for this user.",
        )


@pytest.mark.parametrize("path", ["capture", "cancel"])
def test_the_same_command_under_one_key_is_one_and_answers_alike(psp: Psp, merchant: Account, path: str) -> None:
    held = psp.authorised(merchant)
    headers = {**merchant.key, "Idempotency-Key": f"once-{held['id']}"}

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: psp.post(f"/payments/{held['id']}/{path}", headers=headers), range(20)))

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert sum("Idempotent-Replayed" not in answer.headers for answer in answers) == 1


def test_a_user_may_charge_and_cancel_and_not_capture(psp: Psp) -> None:
    user = psp.register("user")
    held = psp.authorised(user)

    refused = psp.post(f"/payments/{held['id']}/capture", headers=user.key)

    assert (refused.status_code, refused.json()["detail"]) == (
        403,
        "Access denied. Allowed roles: ('merchant', 'admin', 'system_admin')",
    )
    assert psp.post(f"/payments/{held['id']}/cancel", headers=user.key).status_code == 200


def test_deleting_an_authorised_payment_cancels_it(psp: Psp, merchant: Account, database: Database) -> None:
    held = psp.authorised(merchant)

    assert psp.delete(f"/payments/{held['id']}", headers=merchant.bearer).status_code == 200

    told(database, held["id"])
    row = database["payments"].find_one({"_id": held["id"]})
    assert row is not None
    assert (row["status"], row["deleted"]) == ("cancelled", True)


def test_each_step_is_told_once_and_numbered_without_gaps(
    psp: Psp, merchant: Account, database: Database, receiver: Receiver
) -> None:
    asked = psp.charge(merchant, WAIT, card=card(NEEDS_3DS), capture="manual", webhookUrl=receiver.url).json()
    psp.post(f"/payments/{asked['id']}/authenticate", headers=merchant.key)
    psp.reach(merchant, asked["id"], "authorized")
    psp.post(f"/payments/{asked['id']}/capture", headers=merchant.key)
    psp.post("/refunds", json={"paymentId": asked["id"]}, headers=merchant.key)
    refunded = psp.reach(merchant, asked["id"], "refunded")

    received = receiver.wait_for(8)
    events = events_of(database, asked["id"])

    assert [event["type"] for event in events] == [
        "payment.created",
        "payment.requires_action",
        "payment.processing",
        "payment.authorized",
        "payment.completed",
        "refund.created",
        "refund.succeeded",
        "payment.refunded",
    ]
    assert [event["sequence"] for event in events] == list(range(1, 9))
    bodies = [json.loads(request.body) for request in received]
    assert {body["id"] for body in bodies} == {event["_id"] for event in events}
    numbers = {body["id"]: body["data"]["sequence"] for body in bodies}
    assert numbers == {event["_id"]: event["sequence"] for event in events}
    told_last = next(body for body in bodies if body["type"] == "payment.refunded")
    assert told_last["data"] == refunded
    assert (refunded["sequence"], refunded["refunds"][0]["sequence"]) == (8, 7)


def test_a_number_of_a_brand_without_a_scenario_succeeds(psp: Psp, merchant: Account) -> None:
    payment = psp.charge(merchant, WAIT, card=card("4111 1111 1111 1111")).json()

    assert (payment["status"], payment["card"]["number"]) == ("completed", "411111XXXXXX1111")
    assert payment["card"]["fingerprint"] != psp.charge(merchant, card=card(VISA)).json()["card"]["fingerprint"]
