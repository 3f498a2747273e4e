"""Refunds: whole, in parts, and never more than was captured."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.factories import Account, Psp


def test_a_payment_is_refunded_in_parts_until_nothing_is_left(psp: Psp, merchant: Account) -> None:
    paid = psp.completed(merchant)

    first = psp.post("/refunds", json={"paymentId": paid["id"], "amount": 40, "reason": "late"}, headers=merchant.key)
    part = psp.reach(merchant, paid["id"], "partially_refunded")
    rest = psp.post("/refunds", json={"paymentId": paid["id"]}, headers=merchant.bearer)
    whole = psp.reach(merchant, paid["id"], "refunded")

    assert (first.status_code, first.json()["status"], first.json()["reason"]) == (201, "pending", "late")
    assert (part["amountRefundedMinor"], rest.json()["amountMinor"], whole["amountRefundedMinor"]) == (
        4000,
        6050,
        10050,
    )
    assert [refund["status"] for refund in whole["refunds"]] == ["succeeded", "succeeded"]
    one = psp.get(f"/refunds/{first.json()['id']}", headers=merchant.key)
    assert one.json() == whole["refunds"][0]
    assert (
        psp.get(
            f"/refunds/{first.json()['id']}", headers={**merchant.key, "If-None-Match": one.headers["ETag"]}
        ).status_code
        == 304
    )


@pytest.mark.parametrize(("amount", "status"), [(100.51, 409), (0, 422), (-1, 422), (0.001, 422), ("1", 422)])
def test_an_amount_that_is_not_there_is_not_refunded(psp: Psp, merchant: Account, amount: object, status: int) -> None:
    paid = psp.completed(merchant)

    answer = psp.post("/refunds", json={"paymentId": paid["id"], "amount": amount}, headers=merchant.key)

    assert answer.status_code == status
    assert psp.get(f"/payments/{paid['id']}", headers=merchant.key).json() == paid


def test_of_many_refunds_at_once_only_those_that_fit_are_made(psp: Psp, merchant: Account) -> None:
    paid = psp.completed(merchant, paymentAmount=100)
    refund = {"paymentId": paid["id"], "amount": 40}

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: psp.post("/refunds", json=refund, headers=merchant.key), range(20)))

    assert sorted(answer.status_code for answer in answers) == [201] * 2 + [409] * 18
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} <= {
        "amount_exceeded",
        "contention",
    }


def test_one_key_makes_one_refund_with_equal_answers(psp: Psp, merchant: Account) -> None:
    paid = psp.completed(merchant)
    headers = {**merchant.key, "Idempotency-Key": f"refund-{paid['id']}"}
    refund = {"paymentId": paid["id"], "amount": 1}

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: psp.post("/refunds", json=refund, headers=headers), range(20)))

    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert len(psp.get(f"/payments/{paid['id']}", headers=merchant.key).json()["refunds"]) == 1


def test_one_key_cannot_refund_two_payments(psp: Psp, merchant: Account) -> None:
    paid = [psp.completed(merchant)["id"] for _ in range(2)]
    headers = {**merchant.key, "Idempotency-Key": f"refund-{paid[0]}"}

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda one: psp.post("/refunds", json={"paymentId": one}, headers=headers), paid))

    assert sorted(answer.status_code for answer in answers) == [201, 422]
    refunds = [psp.get(f"/payments/{one}", headers=merchant.key).json()["refunds"] for one in paid]
    assert sorted(len(one) for one in refunds) == [0, 1]


def test_refunds_are_listed_newest_first_and_filtered(psp: Psp) -> None:
    account = psp.register()
    paid = [psp.completed(account)["id"] for _ in range(2)]
    made = [psp.post("/refunds", json={"paymentId": one, "amount": 1}, headers=account.key).json() for one in paid]
    for one in paid:
        psp.reach(account, one, "partially_refunded")

    def listed(**query: object) -> list[str]:
        return [one["id"] for one in psp.get("/refunds", params=query, headers=account.key).json()["refunds"]]

    while len(listed(status="succeeded")) < 2:
        pass  # the publisher writes what lists show
    assert listed() == [made[1]["id"], made[0]["id"]]
    assert listed(paymentId=paid[0]) == [made[0]["id"]]
    assert listed(status="failed") == []
    first = psp.get("/refunds", params={"limit": 1}, headers=account.key).json()
    assert (first["totalRefunds"], first["hasMore"]) == (2, True)
    assert listed(limit=1, cursor=first["nextCursor"]) == [made[0]["id"]]
