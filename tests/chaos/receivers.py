"""Receivers that misbehave as the seed says, and write down what arrived and what they answered."""

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256

from tests.scale import SEED

ANSWER = b"HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n"
HANG_S = 60
"""Longer than any sender waits."""


class Fate(StrEnum):
    """What a receiver does with a request that it has read."""

    OK = "200"
    ERROR = "500"
    HANG = "hang"
    CLOSE = "close"


@dataclass(slots=True)
class Arrival:
    number: int
    """Among all that arrived anywhere."""
    fate: Fate
    whole: bool = False
    """A 200 was written to the last byte, to a sender that had not left."""


def fate_of(target: str, body: bytes, number: int) -> Fate:
    """30 % are answered with 500, 10 % not at all, and of 10 % the connection is closed. It depends on nothing but the
    seed, the charge, the event's type, and on which of its arrivals this is: neither on speed nor on ids, which are
    others in each run."""
    event = json.loads(body)
    drawn = sha256(f"{SEED} {target} {event['data']['reference']} {event['type']} {number}".encode()).digest()
    per_cent = int.from_bytes(drawn[:8], "big") % 100
    if per_cent < 30:
        return Fate.ERROR
    if per_cent < 40:
        return Fate.HANG
    return Fate.CLOSE if per_cent < 50 else Fate.OK


class Receivers:
    """Any number of targets, each on a port of its own. In the test's process, which nobody kills."""

    def __init__(self) -> None:
        self.arrivals: dict[tuple[str, str], list[Arrival]] = defaultdict(list)
        """By target and webhook-id, in the order in which they arrived."""
        self.bodies: dict[str, bytes] = {}
        """By webhook-id: the hash of what arrived first."""
        self.changed: list[str] = []
        """The webhook-ids under which other bytes arrived later."""
        self._count = 0
        self._servers: list[asyncio.Server] = []
        self._open: set[asyncio.Task[None]] = set()

    async def listen(self, target: str) -> str:
        """Open a target; its URL."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._open.add(task)
            try:
                while await self._receive(target, reader, writer):
                    pass
            except (asyncio.IncompleteReadError, OSError):
                pass  # the sender has left, or was killed
            finally:
                self._open.discard(task)
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1000)
        self._servers.append(server)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"

    def total(self) -> int:
        return sum(map(len, self.arrivals.values()))

    def by_fate(self) -> Counter[Fate]:
        return Counter(one.fate for arrivals in self.arrivals.values() for one in arrivals)

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _receive(self, target: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Read one request and do with it what was drawn; whether the connection goes on."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        lines = [line.partition(": ") for line in head.split("\r\n")[1:] if line]
        headers = {name.lower(): value for name, _, value in lines}
        body = await reader.readexactly(int(headers["content-length"]))
        arrival = self._write_down(target, headers["webhook-id"], body)
        if arrival.fate is Fate.HANG:
            async with asyncio.timeout(HANG_S):
                await reader.read(1)
        if arrival.fate in (Fate.HANG, Fate.CLOSE):
            return False
        sender_is_there = not reader.at_eof()
        writer.write(ANSWER % (b"200 OK" if arrival.fate is Fate.OK else b"500 Internal Server Error"))
        await writer.drain()
        arrival.whole = arrival.fate is Fate.OK and sender_is_there and not writer.is_closing()
        return True

    def _write_down(self, target: str, webhook_id: str, body: bytes) -> Arrival:
        if self.bodies.setdefault(webhook_id, sha256(body).digest()) != sha256(body).digest():
            self.changed.append(webhook_id)
        before = self.arrivals[target, webhook_id]
        self._count += 1
        arrival = Arrival(self._count, fate_of(target, body, len(before)))
        before.append(arrival)
        return arrival


@asynccontextmanager
async def receiving() -> AsyncIterator[Receivers]:
    receivers = Receivers()
    try:
        yield receivers
    finally:
        await receivers.close()
