"""The request log costs no request anything: a full queue drops, an outage loses rows, and both are counted."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import httpx
import pymongo
import pytest

from core import clock
from core.database import Database
from core.metrics import REGISTRY
from domain.roles import Role
from repositories.request_logs import RequestLogRepository
from services.caller import Caller
from services.request_log import MOST_OF_A_KEY, MOST_OF_A_TARGET, NotedRequest, RequestLog
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD, Server, free_port
from tests.factories import Psp

Row = dict[str, Any]
DATABASE = "request_log"


def noted(body: bytes = b"{}") -> NotedRequest:
    return NotedRequest(
        *(
            Caller("user_1", Role.USER, api_key_id="key_1"),
            clock.now(),
            0.001,
            "POST",
            "/x/{id}",
            b"/x/1",
            201,
            "req_1",
        ),
        idempotency_key=None,
        address="127.0.0.1",
        request_body=body,
        response_body=body,
    )


@pytest.fixture
async def rows(mongo_uri: str) -> AsyncIterator[Database]:
    database = Database(mongo_uri, DATABASE)
    await database.drop()
    yield database
    await database.drop()
    database.close()


async def test_what_waits_is_written_when_it_is_closed(rows: Database) -> None:
    log = RequestLog(RequestLogRepository(rows))
    for _ in range(250):
        log.note(noted())

    await log.close()

    assert await rows["request_logs"].count_documents({}) == 250
    assert log.dropped == 0


async def test_a_full_queue_drops_and_counts(rows: Database, caplog: pytest.LogCaptureFixture) -> None:
    log = RequestLog(RequestLogRepository(rows), most_waiting=10)
    with caplog.at_level(logging.WARNING):
        for _ in range(25):
            log.note(noted())
        await log.close()

    assert await rows["request_logs"].count_documents({}) == 10
    assert log.dropped == 15
    assert (REGISTRY.get_sample_value("mock_psp_dropped_records_total", {"log": "requests"}) or 0) >= 15
    assert [record.getMessage() for record in caplog.records if record.name == "services.request_log"] == [
        "15 requests are in no request log: they came faster than it is written, or MongoDB was away"
    ]


async def test_it_goes_on_once_there_is_room_again(rows: Database) -> None:
    log = RequestLog(RequestLogRepository(rows), most_waiting=10)
    for _ in range(12):
        log.note(noted())
    while await rows["request_logs"].count_documents({}) < 10:
        await asyncio.sleep(0.05)
    log.note(noted())
    await log.close()

    assert await rows["request_logs"].count_documents({}) == 11
    assert log.dropped == 2


@pytest.mark.parametrize("timeout_s", [0.2, 10], ids=["given up by the insert", "given up by the end"])
async def test_while_mongodb_is_away_rows_are_lost_and_counted(timeout_s: float) -> None:
    away = Database(f"mongodb://127.0.0.1:{free_port()}", DATABASE, timeout_s=timeout_s)
    log = RequestLog(RequestLogRepository(away))
    for _ in range(5):
        log.note(noted())

    await log.close()

    assert log.dropped == 5
    away.close()


async def test_only_the_beginning_of_a_long_path_or_key_is_kept(rows: Database) -> None:
    """A card number that is cut in two there looks like any other digits."""
    log = RequestLog(RequestLogRepository(rows))
    long = b"/x?q=" + b"4242424242424242x" * 10_000
    log.note(replace(noted(), target=long[: MOST_OF_A_TARGET + 1], idempotency_key=long[: MOST_OF_A_KEY + 1]))

    await log.close()

    (row,) = await rows["request_logs"].find({}).to_list(None)
    assert 1900 < len(row["path"]) <= 2000
    assert 100 < len(row["idempotency_key"]) < 300
    assert not re.search("[0-9]{7}", row["path"] + row["idempotency_key"])


@pytest.mark.parametrize(
    "body", [b"\xff\x00{", b"[" * 8000, b'{"a":1e999,"b":' + b"9" * 400 + b"}", b'"\\ud800"', b"\0" * 9000]
)
async def test_whatever_a_body_holds_it_is_written(rows: Database, body: bytes) -> None:
    log = RequestLog(RequestLogRepository(rows))
    log.note(noted(body))

    await log.close()

    assert await rows["request_logs"].count_documents({}) == 1


def test_an_orderly_end_of_a_server_writes_what_waits(
    start_server: Callable[..., Server], mongo: pymongo.MongoClient[Row]
) -> None:
    server = start_server(MONGODB_DB=DATABASE)
    with httpx.Client(base_url=server.url, timeout=35, verify=False) as client:
        psp = Psp(client, ADMIN_EMAIL, ADMIN_PASSWORD)
        account = psp.register()
        before = mongo[DATABASE]["request_logs"].count_documents({})
        for _ in range(20):
            psp.get("/refunds", headers=account.key)
    server.stop()

    assert mongo[DATABASE]["request_logs"].count_documents({}) == before + 20
