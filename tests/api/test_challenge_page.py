"""The page where 3-D Secure asks a cardholder, as a browser without scripts uses it."""

import re
import time
from html import unescape
from typing import Any

import httpx
import pytest

from tests.conftest import Server
from tests.factories import Account, Psp

Row = dict[str, Any]
ASKS: Row = {"number": "4000000000003220", "expMonth": 12, "expYear": 2040, "cvc": "123"}
ASKS_THEN_DECLINED: Row = {**ASKS, "number": "4000008400001629"}
QUESTION = "Confirm your payment"


def asked(psp: Psp, account: Account, **fields: Any) -> Row:
    payment = psp.charge(account, {"Prefer": "wait=30"}, **{"card": ASKS, **fields}).json()
    assert payment["status"] == "requires_action", payment
    return dict(payment)


def page(psp: Psp, payment: Row) -> httpx.Response:
    return psp.client.get(payment["nextAction"]["url"])


def press(psp: Psp, payment: Row, answer: str) -> httpx.Response:
    """Press a button of the form, and follow where it leads."""
    return psp.client.post(payment["nextAction"]["url"], data={"answer": answer}, follow_redirects=True)


def get(psp: Psp, account: Account, payment: Row) -> Row:
    return dict(psp.get(f"/payments/{payment['id']}", headers=account.key).json())


def settled(psp: Psp, account: Account, payment: Row) -> Row:
    deadline = time.monotonic() + 30
    while (now := get(psp, account, payment))["status"] == "processing":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return now


def title(answer: httpx.Response) -> str:
    found = re.search(r"<h1>(.*?)</h1>", answer.text)
    assert found, answer.text
    return unescape(found[1])


def test_the_page_shows_what_is_paid_with_what_and_asks(psp: Psp, merchant: Account) -> None:
    payment = asked(psp, merchant, paymentAmount=1234.5, currency="EUR")
    assert payment["nextAction"]["type"] == "redirect"
    address = str(psp.client.base_url).rstrip("/")
    assert payment["nextAction"]["url"].rsplit("/", 1)[0] == f"{address}/3ds/{payment['id']}"

    answer = page(psp, payment)

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert title(answer) == QUESTION
    for shown in ("1,234.50 EUR", "visa", "3220", "Grace Hopper", 'value="approve"', 'value="refuse"'):
        assert shown in answer.text
    assert ASKS["number"] not in answer.text
    assert merchant.id not in answer.text


@pytest.mark.parametrize(
    ("currency", "shown"), [("JPY", "1,000 JPY"), ("USD", "1,000.00 USD"), ("KWD", "1,000.000 KWD")]
)
def test_the_page_shows_the_amount_as_its_currency_is_written(
    psp: Psp, merchant: Account, currency: str, shown: str
) -> None:
    assert f"<dd>{shown}</dd>" in page(psp, asked(psp, merchant, paymentAmount=1000, currency=currency)).text


def test_the_proof_in_the_address_is_in_no_log(psp: Psp, merchant: Account, server: Server) -> None:
    payment = asked(psp, merchant)
    already = server.log.stat().st_size
    address, proof = payment["nextAction"]["url"].rsplit("/", 1)

    page(psp, payment)
    psp.client.get(f"{address}/%{ord(proof[0]):x}{proof[1:]}?more=1")
    press(psp, payment, "approve")

    logged = server.log_with("route=/3ds/{payment_id}/", already, times=4)
    assert proof[1:] not in logged


def test_the_page_runs_nothing_is_framed_by_nobody_and_is_not_kept(psp: Psp, merchant: Account) -> None:
    payment = asked(psp, merchant)
    pressed = psp.client.post(payment["nextAction"]["url"], data={"answer": "approve"})

    for answer in (page(psp, payment), pressed):
        policy = answer.headers["Content-Security-Policy"].split("; ")
        assert {"default-src 'none'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"} <= set(policy)
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert "<script" not in page(psp, payment).text


def test_a_name_is_shown_as_text_whatever_it_holds(psp: Psp, merchant: Account) -> None:
    name = "\"><script>alert(1)</script>{title}&amp;'%s"

    answer = page(psp, asked(psp, merchant, customerName=name))

    assert "<script>" not in answer.text
    assert name in unescape(answer.text)


def test_approving_takes_the_payment_on(psp: Psp, merchant: Account) -> None:
    payment = asked(psp, merchant)

    pressed = psp.client.post(payment["nextAction"]["url"], data={"answer": "approve"})

    assert pressed.status_code == 303
    answer = psp.client.get(str(pressed.url.join(pressed.headers["Location"])))
    assert answer.status_code == 200
    assert title(answer) != QUESTION
    assert "<form" not in answer.text
    done = settled(psp, merchant, payment)
    assert (done["status"], done["nextAction"]) == ("completed", None)
    assert title(page(psp, payment)) == "This payment is completed"


def test_refusing_ends_it(psp: Psp, merchant: Account) -> None:
    payment = asked(psp, merchant)

    answer = press(psp, payment, "refuse")

    assert title(answer) == "This payment has failed"
    assert "<form" not in answer.text
    done = get(psp, merchant, payment)
    assert (done["status"], done["nextAction"], done["amountCaptured"]) == ("failed", None, 0)
    assert done["failure"]["code"]


def test_a_bank_may_decline_what_was_approved(psp: Psp, merchant: Account) -> None:
    payment = asked(psp, merchant, card=ASKS_THEN_DECLINED)

    press(psp, payment, "approve")

    done = settled(psp, merchant, payment)
    assert (done["status"], done["failure"]["declineCode"]) == ("failed", "generic_decline")
    assert title(page(psp, payment)) == "This payment has failed"


def test_approving_a_manual_capture_authorises(psp: Psp, merchant: Account) -> None:
    payment = asked(psp, merchant, capture="manual")

    press(psp, payment, "approve")

    assert settled(psp, merchant, payment)["status"] == "authorized"
    assert title(page(psp, payment)) == "This payment is authorised"


@pytest.mark.parametrize(("first", "status"), [("approve", "completed"), ("refuse", "failed")])
def test_the_first_answer_counts(psp: Psp, merchant: Account, first: str, status: str) -> None:
    payment = asked(psp, merchant)
    press(psp, payment, first)
    settled(psp, merchant, payment)

    for second in ("approve", "refuse"):
        answer = press(psp, payment, second)
        assert answer.status_code == 200
        assert title(answer) != QUESTION
    assert get(psp, merchant, payment)["status"] == status


def test_after_a_cancellation_the_page_says_so_and_asks_no_more(psp: Psp, merchant: Account) -> None:
    payment = asked(psp, merchant)
    assert psp.post(f"/payments/{payment['id']}/cancel", headers=merchant.key).status_code == 200

    for answer in (page(psp, payment), press(psp, payment, "approve")):
        assert title(answer) == "This payment was cancelled"
        assert "<form" not in answer.text
    assert get(psp, merchant, payment)["status"] == "cancelled"


def test_a_payment_that_is_deleted_has_no_page(psp: Psp, merchant: Account) -> None:
    payment = asked(psp, merchant)
    psp.delete(f"/transactions/{payment['id']}", headers=merchant.bearer)

    assert page(psp, payment).status_code == 404
    assert press(psp, payment, "approve").status_code == 404


@pytest.mark.parametrize(
    "proof", ["0" * 32, "x", "\u00e9", "%00", "%ff", "%ED%A0%80", "$ne", "cut", "longer", "upper", "another's"]
)
def test_without_the_proof_there_is_no_page(psp: Psp, merchant: Account, proof: str) -> None:
    payment = asked(psp, merchant)
    url = payment["nextAction"]["url"]
    right = url.rsplit("/", 1)[1]
    made = {"cut": right[:-1], "longer": right + "0", "upper": right.upper() + "A"}
    if proof == "another's":
        made[proof] = asked(psp, merchant)["nextAction"]["url"].rsplit("/", 1)[1]
    wrong = url.removesuffix(right) + made.get(proof, proof)

    for answer in (psp.client.get(wrong), psp.client.post(wrong, data={"answer": "approve"})):
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert get(psp, merchant, payment)["status"] == "requires_action"


def test_what_is_no_answer_is_a_422_and_changes_nothing(psp: Psp, merchant: Account) -> None:
    payment = asked(psp, merchant)
    url = payment["nextAction"]["url"]

    for data in (
        {},
        {"answer": ""},
        {"answer": "yes"},
        {"answer": ["approve", "refuse", "x"]},
        {"reply": "approve"},
        {"answer": "approve", "x": "1"},
    ):
        answer = psp.client.post(url, data=data)
        assert (answer.status_code, answer.json()["code"]) == (422, "validation_error"), data
    json_body = psp.client.post(url, json={"answer": "approve"})
    assert json_body.status_code == 415
    assert get(psp, merchant, payment)["status"] == "requires_action"


def test_a_payment_that_never_asked_has_no_page(psp: Psp, merchant: Account) -> None:
    payment = psp.completed(merchant, card={**ASKS, "number": "4242424242424242"})

    assert payment["nextAction"] is None
    assert psp.client.get(f"/3ds/{payment['id']}/{'0' * 32}").status_code == 404
