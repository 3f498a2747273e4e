"""The bank as a process of its own, and the port to it: batches over HTTP, lost answers, a bank that is away."""

import asyncio
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import token_bytes, token_urlsafe
from typing import Any

import bson
import httpx
import pymongo
import pytest

from bank import rules
from core.config import Settings
from core.database import Database
from core.metrics import REGISTRY
from domain.acquiring import Answer, Operation, Verdict
from domain.bank_scenarios import LATE_S, SCENARIOS
from services.bank import InProcessBank, open_bank
from services.http_bank import FAILURES_TO_OPEN, MAX_ANSWER_BYTES, OPEN_S, TIMEOUT_S, HttpBank
from tests.acquiring import PAN, VISA, approved, capture, declined, fresh, hold, pending, refund, sale, unknown, void
from tests.conftest import READY_S, free_port
from tests.processes import Process, running

DATABASE = "bank_http"
Starter = Callable[..., AbstractContextManager[str]]


@pytest.fixture(scope="module")
def start_bank(data_dir: Path, mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Starter:
    """Start `cli.py bank`; gives its URL once it answers."""
    log = tmp_path_factory.mktemp("bank") / "bank.log"

    @contextmanager
    def start(port: int | None = None, **settings: str) -> Iterator[str]:
        port = port or free_port()
        settings = {"DATA_DIR": str(data_dir), "MONGODB_DB": DATABASE, **settings}
        with running(["cli.py", "bank", "--port", str(port)], log, **settings) as process:
            url = f"http://127.0.0.1:{port}"
            wait_until_ready(url, process, log)
            yield url
        text = log.read_text()
        assert not [one.id for one in SCENARIOS if one.pan in text]
        assert "Traceback" not in text

    return start


def wait_until_ready(url: str, process: Process, log: Path) -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            if httpx.get(f"{url}/health", timeout=5, verify=False).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError(f"not ready after {READY_S} s:\n{log.read_text()}")


@pytest.fixture(scope="module")
def url(start_bank: Starter, mongo: pymongo.MongoClient[dict[str, Any]]) -> Iterator[str]:
    with start_bank() as url:
        yield url
    mongo.drop_database(DATABASE)


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=30, verify=False) as client:
        yield client


@pytest.fixture
async def bank(url: str) -> AsyncIterator[HttpBank]:
    bank = HttpBank(url)
    yield bank
    await bank.close()


def authorisation(operation: Operation) -> dict[str, Any]:
    body = {
        "id": operation.id,
        "merchantId": operation.merchant_id,
        "amountMinor": operation.amount_minor,
        "currency": operation.currency,
        "capture": operation.capture,
    }
    return {**body, "pan": operation.pan} if operation.pan else body


def follow_up(operation: Operation) -> dict[str, Any]:
    return {
        "id": operation.id,
        "authorisationId": operation.authorisation_id,
        "merchantId": operation.merchant_id,
        "amountMinor": operation.amount_minor,
        "currency": operation.currency,
    }


def shown(answer: Answer) -> dict[str, Any]:
    decline = answer.decline
    return {
        "operationId": answer.operation_id,
        "verdict": answer.verdict.value,
        "decline": decline
        and {
            "code": decline.code,
            "declineCode": decline.decline_code,
            "message": decline.message,
            "networkCode": decline.network_code,
        },
    }


def test_a_bank_that_cannot_start_says_why_in_one_sentence(tmp_path: Path) -> None:
    log, away = tmp_path / "bank.log", f"mongodb://127.0.0.1:{free_port()}"
    secrets = {"JWT_SECRET": token_urlsafe(48), "ENCRYPTION_KEY": b64encode(token_bytes(32)).decode()}
    with running(["cli.py", "bank", "--port", str(free_port())], log, MONGODB_URI=away, **secrets) as process:
        assert process.wait(READY_S) != 0

    (reason,) = [line for line in log.read_text().splitlines() if "MongoDB" in line]
    assert "ERROR    MongoDB does not answer as it should" in reason
    assert "Traceback" not in log.read_text()


def test_each_operation_has_a_route_of_its_own(client: httpx.Client) -> None:
    held, bought, dropped = hold(), sale(None), hold()
    taking, back, calling_off = capture(held, 4_000), refund(bought, 2_500), void(dropped)

    for path, body, answer in (
        ("/authorisations", authorisation(held), approved(held)),
        ("/authorisations", authorisation(bought), approved(bought)),
        ("/authorisations", authorisation(dropped), approved(dropped)),
        ("/captures", follow_up(taking), approved(taking)),
        ("/captures", follow_up(taking), approved(taking)),
        ("/refunds", follow_up(back), approved(back)),
        ("/voids", follow_up(calling_off), approved(calling_off)),
    ):
        answered = client.post(path, json=body)
        assert (answered.status_code, answered.json()) == (200, shown(answer))
    assert client.get(f"/operations/{back.id}").json() == shown(approved(back))
    assert client.get(f"/operations/{held.id}").json() == shown(approved(held))
    assert client.get("/operations/re_unheard-of").json()["verdict"] == "unknown"


def test_a_decline_carries_its_codes(client: httpx.Client) -> None:
    operation = sale(PAN["insufficient_funds"])

    answered = client.post("/authorisations", json=authorisation(operation)).json()

    assert answered["verdict"] == "declined"
    assert answered["decline"]["declineCode"] == "insufficient_funds"
    assert answered["decline"]["networkCode"] == "51"


def test_a_bank_that_is_unavailable_says_so_and_a_lost_answer_does_not_arrive(client: httpx.Client) -> None:
    away, lost = sale(PAN["bank_unavailable_once"]), sale(PAN["bank_timeout"])

    assert client.post("/authorisations", json=authorisation(away)).status_code == 503
    assert client.post("/authorisations", json=authorisation(away)).json() == shown(approved(away))
    with pytest.raises(httpx.ReadTimeout):
        client.post("/authorisations", json=authorisation(lost), timeout=TIMEOUT_S)
    assert client.get(f"/operations/{lost.id}").json() == shown(approved(lost))


def test_the_settlement_file_adds_up_and_agrees_with_the_totals(client: httpx.Client) -> None:
    merchant_id = fresh("user")
    dollars, yen = sale(merchant_id=merchant_id), sale(merchant_id=merchant_id, currency="JPY", amount_minor=700)
    back = refund(dollars, 3_000)
    for operation in (dollars, yen):
        client.post("/authorisations", json=authorisation(operation))
    client.post("/refunds", json=follow_up(back))
    today = datetime.now(UTC).date()

    file = client.get(f"/settlement-files/{today}").json()

    assert (file["day"], file["complete"]) == (str(today), False)
    lines = [line for line in file["lines"] if line["merchantId"] == merchant_id]
    assert sorted((line["kind"], line["operationId"], line["amountMinor"]) for line in lines) == sorted(
        [("capture", dollars.id, 10_000), ("capture", yen.id, 700), ("refund", back.id, 3_000)]
    )
    by_currency = {one["currency"]: one for one in file["totals"] if one["merchantId"] == merchant_id}
    assert by_currency["USD"] == {
        "merchantId": merchant_id,
        "currency": "USD",
        "captures": 1,
        "capturedMinor": 10_000,
        "refunds": 1,
        "refundedMinor": 3_000,
        "netMinor": 7_000,
    }
    totals = client.get("/totals", params={"merchantId": merchant_id}).json()
    assert [(one["currency"], one["capturedMinor"], one["refundedMinor"]) for one in totals] == [
        ("JPY", 700, 0),
        ("USD", 10_000, 3_000),
    ]


def test_days_without_a_file(client: httpx.Client) -> None:
    today = datetime.now(UTC).date()

    assert client.get(f"/settlement-files/{today - timedelta(days=2)}").json()["complete"] is True
    assert client.get(f"/settlement-files/{today + timedelta(days=2)}").status_code == 404
    assert client.get("/settlement-files/2026-02-30").status_code == 422


@pytest.mark.parametrize(
    "change",
    [
        {"pan": "4242 4242 4242 4242"},
        {"pan": "4242424242424242x"},
        {"amountMinor": -1},
        {"amountMinor": "100"},
        {"currency": "ZZZ"},
        {"id": ""},
        {"id": "x" * 65},
        {"merchantId": "a b"},
        {"unknown": VISA},
    ],
    ids=str,
)
def test_a_refusal_repeats_no_card_number(client: httpx.Client, change: dict[str, Any]) -> None:
    answered = client.post("/authorisations", json={**authorisation(sale()), **change})

    assert answered.status_code == 422
    assert "4242" not in answered.text


async def test_the_port_answers_in_order_and_none_for_what_did_not_come(bank: HttpBank) -> None:
    bought, away, lost = sale(), sale(PAN["bank_unavailable_once"]), sale(PAN["bank_timeout"])
    late, refused, back = sale(PAN["late_success"]), sale(PAN["lost_card"]), refund(sale())
    operations = [bought, away, lost, late, back]

    answers = await bank.submit(operations)

    assert answers == [approved(bought), None, None, pending(late), declined(back, rules.NO_AUTHORISATION)]
    assert (await bank.submit([refused]))[0] == declined(refused, next(_declines("lost_card")))
    assert await bank.look_up(operations) == [
        approved(bought),
        unknown(away),
        approved(lost),
        pending(late),
        unknown(back),
    ]
    assert await bank.submit([away]) == [approved(away)]
    await asyncio.sleep(LATE_S)
    assert await bank.look_up([late]) == [approved(late)]


def _declines(scenario_id: str) -> Iterator[Any]:
    return (one.decline for one in SCENARIOS if one.id == scenario_id)


async def test_an_operation_that_the_bank_cannot_read_keeps_no_other_from_it(bank: HttpBank) -> None:
    operations = [sale(None) for _ in range(30)]
    for unreadable in (7, 19):
        operations[unreadable] = replace(operations[unreadable], currency="ZZZ")

    expected = [None if one.currency == "ZZZ" else approved(one) for one in operations]
    assert await bank.submit(operations) == expected
    assert await bank.look_up(operations) == expected
    assert [await bank.submit([operations[7]]) for _ in range(FAILURES_TO_OPEN)] == [[None]] * FAILURES_TO_OPEN
    assert not bank.breaker.is_open


async def test_more_than_one_batch_is_sent_in_several(bank: HttpBank) -> None:
    operations = [sale(None) for _ in range(1_201)]

    assert await bank.submit(operations) == [approved(one) for one in operations]
    assert await bank.look_up(operations) == [approved(one) for one in operations]


async def test_a_dead_bank_opens_the_breaker_and_a_living_one_closes_it(start_bank: Starter) -> None:
    port, operation = free_port(), sale()
    bank = HttpBank(f"http://127.0.0.1:{port}")
    try:
        for _ in range(FAILURES_TO_OPEN):
            assert not bank.breaker.is_open
            assert await bank.submit([operation]) == [None]
        assert bank.breaker.is_open
        assert REGISTRY.get_sample_value("mock_psp_bank_breaker", {"state": "open"}) == 1
        # Nothing is tried for a while: what is asked now is not answered even by a bank that has come back.
        with start_bank(port):
            bank.breaker.failed("once more")
            assert await bank.submit([operation]) == [None]
            assert await bank.look_up([operation]) == [None]

            await asyncio.sleep(OPEN_S)

            assert await bank.look_up([operation]) == [unknown(operation)]
            assert not bank.breaker.is_open
            assert REGISTRY.get_sample_value("mock_psp_bank_breaker", {"state": "open"}) == 0
            assert await bank.submit([operation]) == [approved(operation)]
        assert await bank.submit([operation]) == [None]
    finally:
        await bank.close()


async def test_half_open_one_call_tries() -> None:
    bank = HttpBank(f"http://127.0.0.1:{free_port()}")
    for _ in range(FAILURES_TO_OPEN):
        bank.breaker.failed("away")
    assert not bank.breaker.lets_through()

    await asyncio.sleep(OPEN_S)

    assert [bank.breaker.lets_through() for _ in range(20)] == [True] + [False] * 19
    bank.breaker.succeeded()
    assert all(bank.breaker.lets_through() for _ in range(20))
    await bank.close()


async def test_a_bank_that_hangs_or_talks_nonsense_is_no_answer() -> None:
    replies = iter([b"", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnull", b"HTTP/1.1 500 Oops\r\n\r\n", None])

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        reply = next(replies, b"")
        if reply is None:
            await asyncio.sleep(2 * TIMEOUT_S)
        else:
            writer.write(reply)
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    bank = HttpBank(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    try:
        assert [await bank.submit([sale()]) for _ in range(4)] == [[None]] * 4
    finally:
        await bank.close()
        server.close()


async def test_an_answer_without_end_is_no_answer() -> None:
    sent = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n")
        with suppress(ConnectionError):
            while True:
                writer.write(b" " * 65_536)
                await writer.drain()
                sent += 65_536

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    bank = HttpBank(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    try:
        assert await bank.submit([sale()]) == [None]
        # What the kernel holds for a connection may be on its way as well.
        assert sent < MAX_ANSWER_BYTES + 32 * 1024 * 1024
    finally:
        await bank.close()
        server.close()


async def test_the_settings_choose_the_bank(url: str, mongo_uri: str) -> None:
    database = Database(mongo_uri, DATABASE)
    inside, distant, operation = Settings(_env_file=None), Settings(_env_file=None, bank_url=f"{url}/"), sale()
    async with open_bank(inside, database, b"k" * 32) as near, open_bank(distant, database, b"k" * 32) as far:
        assert isinstance(near, InProcessBank)
        assert isinstance(far, HttpBank)
        assert await near.submit([operation]) == await far.submit([operation]) == [approved(operation)]
        lost = sale(PAN["bank_timeout"])
        assert await near.submit([lost]) == [None]
        assert await far.look_up([lost]) == await near.look_up([lost]) == [approved(lost)]
        assert (await near.submit([lost]))[0] == Answer(lost.id, Verdict.APPROVED)
    database.close()


def test_the_process_leaves_no_card_number(url: str, mongo: pymongo.MongoClient[dict[str, Any]]) -> None:
    for name in mongo[DATABASE].list_collection_names():
        written = b"".join(bson.encode(document) for document in mongo[DATABASE][name].find())
        assert not [one.id for one in SCENARIOS if one.pan.encode() in written]
