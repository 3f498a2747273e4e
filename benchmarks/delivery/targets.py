"""Who is sent to: receivers in a process of their own, and accounts with one webhook endpoint each."""

import json
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.client import Account, Client
from benchmarks.stack import LOOPBACK, BenchmarkFailed, Server, Stack, cpu_seconds

FIRST_S = 60


@dataclass(frozen=True)
class Rate:
    """How often something came in a stretch of time, and what each cost the processes behind it."""

    per_s: float
    sender_us: float
    mongod_us: float


class Receivers:
    """The process that receives, asked over its control port."""

    def __init__(self, stack: Stack, answering: int):
        self._stack = stack
        self._control = socket.create_connection((LOOPBACK, stack.start_receivers(answering)), timeout=60)
        self._answers = self._control.makefile("rb")
        ports = self._ask("ports")
        self.answering: list[int] = ports["answering"]
        self.silent: int = ports["silent"]
        self.dripping: int = ports["dripping"]

    @property
    def posts(self) -> int:
        """How many requests have come to the ports that answer."""
        return int(self._ask("count")["posts"])

    @property
    def distinct(self) -> int:
        """How many different webhook-ids they had."""
        return int(self._ask("count")["distinct"])

    def keep(self) -> None:
        """Keep what comes from now on, for `latencies_ms`."""
        self._ask("keep")

    def latencies_ms(self) -> list[float]:
        """Of each that was kept: from the moment that its body tells until it was received."""
        answer: list[float] = self._ask("latencies_ms")
        return answer

    def wait_for(self, posts: int, within_s: float) -> None:
        """Return when so many have come in all. Raises BenchmarkFailed."""
        deadline = time.monotonic() + within_s
        while self.posts < posts:
            if time.monotonic() > deadline:
                raise BenchmarkFailed(f"{posts - self.posts} webhooks had not come after {within_s:g} s.")
            time.sleep(0.01)

    def rate(self, sender_pid: int, seconds: float, *, settle_s: float) -> Rate:
        """What comes in so many seconds, which begin `settle_s` after the first has come."""
        self.wait_for(self.posts + 1, FIRST_S)
        time.sleep(settle_s)
        pids = (sender_pid, self._stack.mongod_pid)
        posts, at_s, cpu_s = self.posts, time.monotonic(), [cpu_seconds(pid) for pid in pids]
        time.sleep(seconds)
        came, took_s = self.posts - posts, time.monotonic() - at_s
        if came == 0:
            raise BenchmarkFailed("Nothing came.")
        sender_s, mongod_s = (cpu_seconds(pid) - before for pid, before in zip(pids, cpu_s, strict=True))
        return Rate(came / took_s, sender_s / came * 1e6, mongod_s / came * 1e6)

    def _ask(self, question: str) -> Any:
        self._control.sendall(question.encode() + b"\n")
        return json.loads(self._answers.readline())


@dataclass(frozen=True)
class Subscriber:
    """An account and its one webhook endpoint."""

    account: Account
    endpoint_id: str
    url: str


@dataclass(frozen=True)
class Subscribers:
    """A server with accounts that are told of all events, one for each of the ports."""

    server: Server
    all: list[Subscriber]


def subscribe(stack: Stack, database: str, ports: Sequence[int], *, worker: str = "off") -> Subscribers:
    server = stack.start_product(database, worker=worker, PROCESSING_DELAY_SECONDS="0")
    with Client(server) as client:
        return Subscribers(server, [_subscriber(client, f"http://{LOOPBACK}:{port}/webhooks") for port in ports])


def _subscriber(client: Client, url: str) -> Subscriber:
    account = Account(client)
    made = client.post("/webhook-endpoints", {"url": url, "events": ["*"]}, account.headers)
    return Subscriber(account, made["id"], url)
