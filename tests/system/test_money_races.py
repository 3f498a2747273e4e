"""Many at once on two API processes: one payment, one refund, one winner, and a bank that agrees."""

import asyncio
import json
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pymongo
import pytest

from tests.books import Books, Documents, wait_until_idle
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD, serving
from tests.factories import API, Account, Psp, card
from tests.scale import scaled

DATABASE = "money_races"
pytestmark = pytest.mark.scaled
KEYS, DUPLICATES = scaled((6, 20), (50, 40))
PAYMENTS, REFUNDS = scaled((4, 20), (30, 20))
ROUNDS = scaled(3, 20)
Record = Callable[[str, object], None]


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    replayed: bool


class Crowd:
    """Sends many requests at the same moment, to both API processes in turn."""

    def __init__(self, session: aiohttp.ClientSession, urls: list[str]):
        self._session = session
        self._urls = cycle(urls)

    async def post(self, path: str, body: dict[str, Any] | None, headers: dict[str, str]) -> Answer:
        url = next(self._urls) + API + path
        async with self._session.post(url, json=body, headers=headers) as response:
            replayed = "Idempotent-Replayed" in response.headers
            return Answer(response.status, await response.read(), replayed)

    async def at_once(self, *requests: tuple[str, dict[str, Any] | None, dict[str, str]]) -> list[Answer]:
        return list(await asyncio.gather(*(self.post(*request) for request in requests)))


@pytest.fixture(scope="module")
def urls(mongo_uri: str, data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Two API processes, each with its workers."""
    logs, options = tmp_path_factory.mktemp("races"), {"MONGODB_DB": DATABASE, "PROCESSING_DELAY_SECONDS": "0"}
    with ExitStack() as stack:
        yield [
            stack.enter_context(serving(logs / f"{name}.log", DATA_DIR=str(data_dir), **options)).url
            for name in ("one", "two")
        ]


@pytest.fixture(scope="module")
def books(urls: list[str], mongo: pymongo.MongoClient[dict[str, Any]]) -> Iterator[Documents]:
    yield mongo[DATABASE]
    mongo.drop_database(DATABASE)


@pytest.fixture(scope="module")
def psp(urls: list[str]) -> Iterator[Psp]:
    with httpx.Client(base_url=urls[0], timeout=35, verify=False) as client:
        yield Psp(client, ADMIN_EMAIL, ADMIN_PASSWORD)


@pytest.fixture
def account(psp: Psp) -> Account:
    return psp.register("merchant")


@pytest.fixture
async def crowd(urls: list[str]) -> AsyncIterator[Crowd]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=100)) as session:
        yield Crowd(session, urls)


def charge(**fields: Any) -> dict[str, Any]:
    return {"customerName": "Grace Hopper", "paymentAmount": 100, "currency": "USD", "card": card(), **fields}


def token(psp: Psp, account: Account) -> str:
    return str(psp.post("/tokens", json=card(), headers=account.key).json()["id"])


def keyed(account: Account, key: str | None = None) -> dict[str, str]:
    return {**account.key, "Idempotency-Key": key or secrets.token_hex(8)}


def statuses(answers: list[Answer]) -> Counter[int]:
    return Counter(answer.status for answer in answers)


def codes(answers: list[Answer]) -> Counter[str]:
    """The codes of those that were refused."""
    return Counter(json.loads(answer.body)["code"] for answer in answers if answer.status >= 400)


def checked(database: Documents, account: Account) -> Books:
    """The account's books, once everything is told, which agree with the bank's."""
    wait_until_idle(database)
    books = Books(database, account.id)
    books.check()
    return books


async def test_duplicates_of_a_charge_make_one_payment_one_authorisation_and_equal_answers(
    crowd: Crowd, account: Account, books: Documents, record_property: Record
) -> None:
    every = [
        crowd.at_once(*(("/payments/charge", charge(), keyed(account, f"key-{key}")) for _ in range(DUPLICATES)))
        for key in range(KEYS)
    ]
    for answers in await asyncio.gather(*every):
        assert statuses(answers) == {201: DUPLICATES}
        assert len({answer.body for answer in answers}) == 1
        assert sum(not answer.replayed for answer in answers) == 1

    found = checked(books, account)
    assert (len(found.payments), len(found.authorisations)) == (KEYS, KEYS)
    assert found.bank_totals()["USD"]["captured"] == KEYS * 10_000
    record_property("proof", f"duplicates: {KEYS} keys, {DUPLICATES} at once of each, {KEYS} authorisations")


async def test_of_many_refunds_of_40_percent_two_win_each_payment(
    crowd: Crowd, psp: Psp, account: Account, books: Documents, record_property: Record
) -> None:
    payments = [psp.completed(account, paymentAmount=100, card=card())["id"] for _ in range(PAYMENTS)]

    every = [
        crowd.at_once(*(("/refunds", {"paymentId": one, "amount": 40}, keyed(account)) for _ in range(REFUNDS)))
        for one in payments
    ]
    for answers in await asyncio.gather(*every):
        assert statuses(answers) == {201: 2, 409: REFUNDS - 2}
        assert codes(answers) == {"amount_exceeded": REFUNDS - 2}

    found = checked(books, account)
    assert all(len(payment["refunds"]) == 2 for payment in found.payments)
    assert found.bank_totals()["USD"]["refunded"] == PAYMENTS * 8_000
    record_property("proof", f"refunds: {PAYMENTS} payments, {REFUNDS} refunds of 40 % at once of each, two won each")


async def test_one_refund_key_on_two_payments_at_once_refunds_one(
    crowd: Crowd, psp: Psp, account: Account, books: Documents
) -> None:
    for _ in range(ROUNDS):
        both = [psp.completed(account, card=card())["id"] for _ in range(2)]
        headers = keyed(account)

        answers = await crowd.at_once(*(("/refunds", {"paymentId": one}, headers) for one in both))

        assert statuses(answers) == {201: 1, 422: 1}
        assert codes(answers) == {"idempotency_key_reused": 1}
    assert sum(len(payment.get("refunds", ())) for payment in checked(books, account).payments) == ROUNDS


async def test_the_same_refund_many_times_at_once_is_one_with_equal_answers(
    crowd: Crowd, psp: Psp, account: Account, books: Documents
) -> None:
    for _ in range(ROUNDS):
        payment, headers = psp.completed(account, card=card())["id"], keyed(account)

        answers = await crowd.at_once(*[("/refunds", {"paymentId": payment}, headers)] * REFUNDS)

        assert statuses(answers) == {201: REFUNDS}
        assert len({answer.body for answer in answers}) == 1
        assert sum(not answer.replayed for answer in answers) == 1
    assert all(len(payment["refunds"]) == 1 for payment in checked(books, account).payments)


async def test_of_capture_and_cancel_one_wins_and_the_bank_agrees(
    crowd: Crowd, psp: Psp, account: Account, books: Documents
) -> None:
    for number in range(ROUNDS):
        held = psp.authorised(account)["id"]
        paths = [f"/payments/{held}/capture", f"/payments/{held}/cancel"] * (1 + number % 3)

        answers = await crowd.at_once(*((path, None, keyed(account)) for path in paths))

        assert statuses(answers) == {200: 1, 409: len(paths) - 1}
        assert codes(answers) == {"invalid_state": len(paths) - 1}
    totals = checked(books, account).bank_totals()["USD"]
    assert totals["captured"] + totals["voided"] == totals["authorised"]


async def test_a_payment_key_for_one_use_opens_one_payment(
    crowd: Crowd, psp: Psp, account: Account, books: Documents
) -> None:
    for _ in range(ROUNDS):
        key = psp.post("/payment-keys", json={}, headers=account.key).json()["paymentKey"]
        headers = [{"X-Payment-Key": key, "Idempotency-Key": str(number)} for number in range(20)]

        answers = await crowd.at_once(*(("/payments/charge", charge(), one) for one in headers))

        assert statuses(answers) == {201: 1, 409: 19}
        assert codes(answers) == {"payment_key_used_up": 19}
        again = await crowd.at_once(*(("/payments/charge", charge(), one) for one in headers))
        assert [answer.status for answer in again] == [answer.status for answer in answers]
        assert statuses([answer for answer in again if answer.replayed]) == {201: 1}
    assert len(checked(books, account).payments) == ROUNDS


async def test_who_comes_too_late_for_a_payment_key_keeps_the_card_token(
    crowd: Crowd, psp: Psp, account: Account, books: Documents
) -> None:
    for _ in range(ROUNDS):
        key = psp.post("/payment-keys", json={}, headers=account.key).json()["paymentKey"]
        bodies = [charge(card=None, cardToken=token(psp, account)) for _ in range(20)]
        browsers = [{"X-Payment-Key": key, "Idempotency-Key": str(number)} for number in range(20)]

        answers = await crowd.at_once(*(("/payments/charge", *one) for one in zip(bodies, browsers, strict=True)))

        assert codes(answers) == {"payment_key_used_up": 19}
        again = await crowd.at_once(*(("/payments/charge", body, keyed(account)) for body in bodies))
        assert codes(again) == {"card_token_used": 1}
    assert len(checked(books, account).payments) == 20 * ROUNDS


async def test_a_card_token_pays_for_one_payment(crowd: Crowd, psp: Psp, account: Account, books: Documents) -> None:
    for _ in range(ROUNDS):
        body = charge(card=None, cardToken=token(psp, account))

        answers = await crowd.at_once(*(("/payments/charge", body, keyed(account)) for _ in range(20)))

        assert statuses(answers) == {201: 1, 409: 19}
        assert codes(answers) == {"card_token_used": 19}
    assert len(checked(books, account).payments) == ROUNDS


async def test_the_same_charge_with_a_card_token_many_times_at_once_is_one(
    crowd: Crowd, psp: Psp, account: Account, books: Documents
) -> None:
    for _ in range(ROUNDS):
        body, headers = charge(card=None, cardToken=token(psp, account)), keyed(account)

        answers = await crowd.at_once(*[("/payments/charge", body, headers)] * 20)

        assert statuses(answers) == {201: 20}
        assert len({answer.body for answer in answers}) == 1
    assert len(checked(books, account).payments) == ROUNDS
