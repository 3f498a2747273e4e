"""Receivers of webhooks as a process of their own: `python -m benchmarks.delivery.receivers CONTROL_PORT ANSWERING`.

As many ports as asked for answer 200 at once, one never answers, and one drips its answer, a byte a second. What came
is counted here, outside of what is measured; whoever measures asks over the control port, a JSON value a line.
"""

import asyncio
import json
import sys
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

import httptools
import uvloop

LOOPBACK = "127.0.0.1"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 17\r\n\r\n" + b'{"received":true}'
LONG_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
DRIP_S = 1.0


@dataclass
class Arrivals:
    """What came to the ports that answer."""

    posts: int = 0
    ids: set[bytes] = field(default_factory=set)
    kept: list[tuple[float, bytes]] | None = None
    """When each came and its body, while somebody wants to know."""

    def count(self) -> dict[str, Any]:
        return {"posts": self.posts, "distinct": len(self.ids)}

    def keep(self) -> dict[str, Any]:
        self.kept = []
        return {}

    def latencies_ms(self) -> list[float]:
        """From the `timestamp` in each body kept until it was here, and keep no more."""
        kept, self.kept = self.kept or [], None
        return [(at - _said_at(body)) * 1000 for at, body in kept]


class Answering(asyncio.Protocol):
    """One connection to a port that answers."""

    def __init__(self, arrivals: Arrivals):
        self._arrivals = arrivals
        self._parser = httptools.HttpRequestParser(self)
        self._id = b""
        self._body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"webhook-id":
            self._id = value

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self._arrivals.posts += 1
        self._arrivals.ids.add(self._id)
        if self._arrivals.kept is not None:
            self._arrivals.kept.append((time.time(), self._body))
        self._id = self._body = b""
        self._transport.write(ANSWER)


class Silent(asyncio.Protocol):
    """Takes everything and never answers."""


class Dripping(asyncio.Protocol):
    """Begins an answer at once and never comes to its end."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._answering = False

    def data_received(self, data: bytes) -> None:
        if not self._answering:
            self._answering = True
            self._transport.write(LONG_ANSWER)
            self._drip()

    def _drip(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(b" ")
            asyncio.get_running_loop().call_later(DRIP_S, self._drip)


async def serve(control_port: int, answering: int) -> None:
    arrivals = Arrivals()
    loop = asyncio.get_running_loop()
    kinds = [*[lambda: Answering(arrivals)] * answering, Silent, Dripping]
    servers = [await loop.create_server(kind, LOOPBACK, 0) for kind in kinds]
    *ports, silent, dripping = (server.sockets[0].getsockname()[1] for server in servers)
    answers = {
        "ports": lambda: {"answering": ports, "silent": silent, "dripping": dripping},
        "count": arrivals.count,
        "keep": arrivals.keep,
        "latencies_ms": arrivals.latencies_ms,
    }

    async def control(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while question := (await reader.readline()).decode().strip():
            writer.write(json.dumps(answers[question]()).encode() + b"\n")
            await writer.drain()
        writer.close()

    await (await asyncio.start_server(control, LOOPBACK, control_port)).serve_forever()


def _said_at(body: bytes) -> float:
    return datetime.fromisoformat(json.loads(body)["timestamp"]).timestamp()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), int(sys.argv[2])))
