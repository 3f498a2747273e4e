"""Sending one webhook: whatever the receiver does, it comes to a reply, and to a bounded one."""

import asyncio
import inspect
import re
import socket
from collections.abc import AsyncIterator
from typing import get_args

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from domain.attempts import ErrorCode
from services import delivery, webhook_sender
from services.webhook_sender import MAX_RESPONSE_BYTES, Reply, WebhookSender


class Broken(AbstractResolver):
    """Fails as nobody has thought of."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        raise RuntimeError("unheard of")

    async def close(self) -> None:
        pass


@pytest.fixture
async def broken() -> AsyncIterator[WebhookSender]:
    sender = WebhookSender(allow_private_networks=True, resolver=Broken())
    yield sender
    await sender.close()


async def test_a_failure_that_nobody_has_thought_of_is_a_failed_attempt_and_logged_with_where_it_arose(
    broken: WebhookSender, caplog: pytest.LogCaptureFixture
) -> None:
    reply = await broken.post("http://receiver.example/hook?key=hush", b"{}", {})

    assert (reply.status, reply.error, reply.success, reply.permanent) == (None, "internal_error", False, False)
    (record,) = (one for one in caplog.records if one.name == "services.webhook_sender")
    assert record.exc_info is not None
    assert "unheard of" in caplog.text
    assert "hush" not in caplog.text


def test_every_code_of_the_senders_is_one_that_a_delivery_may_show() -> None:
    source = "".join(inspect.getsource(module) for module in (webhook_sender, delivery))
    written = re.findall(r'(?:error=|return |_CODES.*, )"([a-z_]+)"', source)
    codes = {*written, *webhook_sender._CODES.values()}

    assert codes == set(get_args(ErrorCode))


async def answered(body: bytes) -> Reply:
    """What a receiver's answer with this body comes to."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    sender = WebhookSender(allow_private_networks=True)
    try:
        return await sender.post(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", b"", {})
    finally:
        await sender.close()
        server.close()


@pytest.mark.parametrize("body", [b"a", b"\xff", b"\0", "\u20ac".encode(), "x\U0001f600".encode()], ids=ascii)
@pytest.mark.parametrize("count", [10, 20_000])
async def test_of_an_answer_so_many_bytes_are_kept_as_it_is_stored(body: bytes, count: int) -> None:
    reply = await answered(body * count)

    assert reply.status == 200
    assert reply.text is not None
    whole = (body * count).decode("utf-8", "replace").replace("\0", "\ufffd")
    assert whole.startswith(reply.text.rstrip("\ufffd"))
    if count == 10:
        assert reply.text == whole
    else:
        assert MAX_RESPONSE_BYTES - 4 < len(reply.text.encode()) <= MAX_RESPONSE_BYTES
