"""Several requests sent at once on one connection, the last of which is no HTTP: those before it are answered in
order, and the log holds no exception that anybody could fill it with."""

import time

import pytest

from tests.conftest import Server
from tests.raw_http import answers_to

GOOD = b"GET /api/v1/status HTTP/1.1\r\nHost: x\r\n\r\n"
BAD_LINE = b"no HTTP at all\r\n\r\n"
BODY = b"POST /api/v1/users/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
BAD_CHUNK = BODY + b"Transfer-Encoding: chunked\r\n\r\nnonsense\r\n"
BAD_CHUNK_EXPECTED = BODY + b"Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n"
TOO_LONG = b"GET /" + 20_000 * b"a" + b" HTTP/1.1\r\nHost: x\r\n\r\n"
TOO_LARGE = b"GET / HTTP/1.1\r\nHost: x\r\n" + 101 * b"a: b\r\n" + b"\r\n"


@pytest.mark.parametrize("good", range(4))
@pytest.mark.parametrize(
    ("bad", "status"),
    [
        pytest.param(BAD_LINE, 400, id="no HTTP"),
        pytest.param(BAD_CHUNK, 400, id="no body"),
        pytest.param(BAD_CHUNK_EXPECTED, 400, id="no body, expected"),
        pytest.param(TOO_LONG, 414, id="long URL"),
        pytest.param(TOO_LARGE, 431, id="many headers"),
    ],
)
def test_what_came_whole_is_answered_and_what_is_refused_ends_the_connection(
    server: Server, good: int, bad: bytes, status: int
) -> None:
    already = len(server.log.read_bytes())

    answers = answers_to(server.url, good * GOOD + bad + GOOD)

    assert [answer.status for answer in answers] == (good * [200] or [status])
    assert [answer.headers["connection"] for answer in answers] == [*(good - 1) * [None], "close"]
    answers_to(server.url, GOOD.replace(b"Host", b"Connection: close\r\nHost"))
    time.sleep(0.1)  # what those requests still write to the log
    assert "Traceback" not in server.log.read_bytes()[already:].decode()
