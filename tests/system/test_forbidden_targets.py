"""Where strangers name the URLs, no connection reaches a forbidden address: not by any way of writing it, nor by a
name that answers otherwise when it is dialled than when it was checked."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from aiohttp import ThreadedResolver
from aiohttp.abc import AbstractResolver, ResolveResult

from domain.targets import forbidden
from services.webhook_sender import Reply, WebhookSender

PUBLIC = "93.184.216.34"
NAMES = {
    "sentinel.example": ["127.0.0.1"],
    "127.0.0.1.nip.example": ["127.0.0.1"],
    "metadata.google.internal": ["169.254.169.254"],
    "oracle.example": ["192.0.0.192"],
    "azure.example": ["168.63.129.16"],
    "private.example": ["10.0.0.1"],
    "v6.example": ["::1"],
    "mapped.example": ["::ffff:127.0.0.1"],
    "nat64.example": ["64:ff9b::7f00:1"],
    "sixtofour.example": ["2002:7f00:1::1"],
    "several.example": ["169.254.169.254", "10.0.0.1", "127.0.0.1", "::1"],
    "b\u00fccher.example": ["127.0.0.1"],
    "xn--bcher-kva.example": ["127.0.0.1"],
}
HOSTS = [
    *NAMES,
    "localhost",
    "localhost.",
    "LOCALHOST",
    "127.0.0.1",
    "127.0.0.2",
    "127.255.255.254",
    "127.0.0.1.",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0x7f.1",
    "0177.0.0.1",
    "017700000001",
    "0177.1",
    "\uff11\uff12\uff17.0.0.1",
    "127\u30020\u30020\u30021",
    "\u2460\u2461\u2466.0.0.1",
    "0",
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "169.254.169.254",
    "2852039166",
    "0xa9fea9fe",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.9",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::]",
    "[::127.0.0.1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::ffff:169.254.169.254]",
    "[::ffff:0:127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b:1::1]",
    "[2001::1]",
    "[2001:db8::1]",
    "[2002:7f00:1::1]",
    "[2002:a9fe:a9fe::1]",
    "[fc00::1]",
    "[fd00:ec2::254]",
    "[fe80::1]",
    "[fe80::1%25lo]",
    "[fec0::1]",
    "[ff02::1]",
    "[::1%25lo]",
]
URLS = [
    *(f"http://{host}:{{port}}/hook" for host in HOSTS),
    "https://127.0.0.1:{port}/hook",
    "http://user:password@127.0.0.1:{port}/hook",
    "http://example.com@127.0.0.1:{port}/hook",
    "http://example.com:80@127.0.0.1:{port}/hook",
    "http://127.0.0.1:{port}#@example.com/",
    "http://127.0.0.1:{port}\\@example.com/",
    "http://127.0.0.1:{port}\t/hook",
    " http://127.0.0.1:{port}/hook",
    "http:127.0.0.1:{port}/hook",
    "http:///127.0.0.1:{port}/hook",
    "//127.0.0.1:{port}/hook",
    "ws://127.0.0.1:{port}/hook",
    "ftp://127.0.0.1:{port}/hook",
    "gopher://127.0.0.1:{port}/hook",
    "file://127.0.0.1:{port}/etc/passwd",
    "unix://127.0.0.1:{port}/run/socket",
]


class Names(AbstractResolver):
    """Answers for some names from a table, one answer after the other; the system answers for all others."""

    def __init__(self, **answers: list[list[str]]):
        self._answers = answers
        self._system = ThreadedResolver()

    async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_INET) -> list[ResolveResult]:
        if host not in self._answers:
            return await self._system.resolve(host, port, family)
        answers = self._answers[host]
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        await self._system.close()


class Sentinel:
    """A server on every address of this machine, where nobody may come; and who dialled its port anywhere."""

    def __init__(self, port: int):
        self.port = port
        self.visits = 0
        self.dialled: list[str] = []

    async def answer(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.visits += 1
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()


_watching: list[Sentinel] = []


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    # The interpreter's own word on each `connect`, whoever calls it: none can be overlooked.
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        for sentinel in _watching:
            if arguments[1][1] == sentinel.port:
                sentinel.dialled.append(arguments[1][0])


@pytest.fixture(scope="module", autouse=True)
def _audit() -> None:
    sys.addaudithook(_watch)  # for the life of the process: it looks only while a sentinel stands


@contextmanager
def watching(sentinel: Sentinel) -> Iterator[None]:
    _watching.append(sentinel)
    yield
    _watching.remove(sentinel)


@pytest.fixture
async def sentinel() -> AsyncIterator[Sentinel]:
    with socket.create_server(("0.0.0.0", 0)) as listener:
        sentinel = Sentinel(listener.getsockname()[1])
        servers = [await asyncio.start_server(sentinel.answer, sock=listener)]
        if socket.has_ipv6:
            servers.append(await asyncio.start_server(sentinel.answer, "::1", sentinel.port))
        with watching(sentinel):
            yield sentinel
        for server in servers:
            server.close()


async def post(url: str, names: Names, *, private: bool = False) -> Reply:
    sender = WebhookSender(allow_private_networks=private, resolver=names)
    try:
        return await sender.post(url, b"{}", {})
    finally:
        await sender.close()


def test_the_table_is_long_enough() -> None:
    assert len(set(URLS)) == len(URLS) >= 60


async def test_the_sentinel_sees_who_comes(sentinel: Sentinel) -> None:
    """With private networks allowed such URLs lead there: what keeps them away is the check alone."""
    for host in ("127.0.0.1", "127.0.0.2", "0.0.0.0", "localhost", "sentinel.example"):
        names = Names(**{"sentinel.example": [["127.0.0.1"]]})
        assert (await post(f"http://{host}:{sentinel.port}/hook", names, private=True)).success, host

    assert sentinel.visits == len(sentinel.dialled) == 5


@pytest.mark.parametrize("url", URLS)
async def test_no_url_leads_to_a_forbidden_address(sentinel: Sentinel, url: str) -> None:
    reply = await post(url.format(port=sentinel.port), Names(**{name: [answer] for name, answer in NAMES.items()}))

    assert reply.status is None
    assert reply.error in ("target_forbidden", "invalid_url", "connection_failed") or reply.error.startswith("request_")
    assert (sentinel.visits, sentinel.dialled) == (0, [])


@pytest.mark.parametrize(
    "then", [["127.0.0.1"], ["::1"], ["169.254.169.254"], ["::ffff:127.0.0.1"], ["10.0.0.1", "127.0.0.1"]], ids=str
)
async def test_a_name_that_was_public_when_it_was_checked_is_not_dialled_elsewhere(
    sentinel: Sentinel, then: list[str]
) -> None:
    names = Names(**{"rebinding.example": [[PUBLIC], then]})
    (checked,) = await names.resolve("rebinding.example")
    assert not forbidden(checked["host"])  # whoever checks names before dialling lets this one pass

    for _ in range(3):
        reply = await post(f"http://rebinding.example:{sentinel.port}/hook", names)
        assert (reply.status, reply.error, reply.permanent) == (None, "target_forbidden", True)
    assert (sentinel.visits, sentinel.dialled) == (0, [])
