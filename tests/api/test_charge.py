"""A charge, from its acceptance to its end."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from schemas.payments import PaymentOut
from tests.conftest import Server
from tests.factories import API, Psp


def test_a_charge_is_accepted_as_pending_with_the_fields_of_the_contract(psp: Psp) -> None:
    account = psp.register()

    answer = psp.charge(account, reference="order-1", metadata={"a.b": "$c"}, details="$ownerId")

    assert answer.status_code == 201
    payment = answer.json()
    assert payment["id"].startswith("txn_")
    assert payment["ownerId"] == account.id
    assert (payment["amount"], payment["amountMinor"], payment["currency"]) == (100.5, 10050, "USD")
    assert (payment["status"], payment["paymentMethod"]) == ("pending", "none")
    assert (payment["reference"], payment["details"]) == ("order-1", "$ownerId")
    assert payment["metadata"] == {"a.b": "$c"}
    assert payment["created"] == payment["createdAt"]
    assert set(payment) == {field.alias for field in PaymentOut.model_fields.values()}


def test_a_charge_completes_and_prefer_wait_answers_with_the_end(psp: Psp) -> None:
    account = psp.register()

    payment = psp.completed(account)

    assert (payment["amountCaptured"], payment["amountCapturedMinor"]) == (100.5, 10050)
    assert psp.get(f"/payments/{payment['id']}", headers=account.key).json() == payment


def test_the_same_idempotency_key_repeats_the_first_answer_to_the_byte(psp: Psp) -> None:
    account = psp.register()
    first = psp.charge(account, {"Idempotency-Key": "k"})
    psp.get(f"/payments/{first.json()['id']}", headers=account.key)

    for spelling in ("k", '"k"'):
        again = psp.charge(account, {"Idempotency-Key": spelling})
        assert (again.status_code, again.content) == (201, first.content)
        assert again.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers


def test_a_replay_with_prefer_wait_shows_the_state_reached(psp: Psp) -> None:
    account = psp.register()
    psp.charge(account, {"Idempotency-Key": "k"})

    again = psp.charge(account, {"Idempotency-Key": "k", "Prefer": "wait=30"})

    assert again.json()["status"] == "completed"
    assert again.headers["Idempotent-Replayed"] == "true"


def test_the_same_key_with_another_body_is_refused(psp: Psp) -> None:
    account = psp.register()
    psp.charge(account, {"Idempotency-Key": "k"}, paymentAmount=1)

    other = psp.charge(account, {"Idempotency-Key": "k"}, paymentAmount=2)

    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


def test_a_key_belongs_to_its_account(psp: Psp) -> None:
    first, second = psp.register(), psp.register()

    ids = {psp.charge(account, {"Idempotency-Key": "k"}).json()["id"] for account in (first, second)}

    assert len(ids) == 2


def test_a_refused_request_claims_nothing(psp: Psp) -> None:
    account = psp.register()
    assert psp.charge(account, {"Idempotency-Key": "k"}, paymentAmount=-1).status_code == 422

    assert psp.charge(account, {"Idempotency-Key": "k"}).status_code == 201


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\there", "caf\u00e9"])
def test_a_malformed_idempotency_key_is_a_422(psp: Psp, key: str) -> None:
    account = psp.register()

    answer = psp.charge(account, {"Idempotency-Key": key.encode("latin-1")})  # type: ignore[dict-item]

    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["header", "Idempotency-Key"]


def test_many_requests_at_once_with_one_key_make_one_payment_and_equal_answers(psp: Psp, server: Server) -> None:
    account = psp.register()
    body = {"customerName": "Grace", "paymentAmount": 5, "currency": "JPY"}

    def send(_: int) -> tuple[int, bytes]:
        headers = {**account.key, "Idempotency-Key": "race"}
        answer = httpx.post(f"{server.url}{API}/payments/charge", json=body, headers=headers, timeout=30, verify=False)
        return answer.status_code, answer.content

    with ThreadPoolExecutor(20) as pool:
        answers = set(pool.map(send, range(60)))

    assert len(answers) == 1
    assert psp.get("/payments/all", headers=account.key).json()["totalTransactions"] == 1
