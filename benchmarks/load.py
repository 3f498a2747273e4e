"""One run of wrk against one server, and what it cost the processes behind it."""

import json
import resource
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.stack import LOOPBACK, BenchmarkFailed, Server, Stack, busy_seconds, cpu_seconds

SETTLE_S = 0.2
SCRIPT = Path(__file__).with_name("charge.lua")
BODY = {
    "customerName": "Grace Hopper",
    "paymentAmount": 100.5,
    "currency": "USD",
    "details": "Two tickets, row 7",
    "reference": "order-1001",
    "metadata": {"orderId": "A-1001"},
}
CARD = {"number": "4242424242424242", "expMonth": 12, "expYear": 2040, "cvc": "123"}
BODY_WITH_CARD = {**BODY, "card": CARD}


FIGURES = ("per_s", "p50_ms", "p99_ms", "server_us", "mongod_us")


@dataclass(frozen=True)
class Load:
    """What wrk saw, and the processor time behind it."""

    answers: int
    per_s: float
    p50_ms: float
    p99_ms: float
    server_us: float
    """Processor time of the server process for each answer."""
    mongod_us: float
    others_share: float
    """Share of the machine that went to processes outside of this benchmark: noise."""


def charge(
    stack: Stack,
    server: Server,
    *,
    connections: int,
    seconds: int,
    api_key: str,
    key_prefix: str | None,
    body: Mapping[str, Any] = BODY,
) -> Load:
    """Charge as fast as answers come. Raises BenchmarkFailed where an answer was anything but a success, or where
    what is stored afterwards is not what was answered."""
    stored_before = _stored(stack, server)
    before = _Clocks.read(stack, server)
    seen = _wrk(server, connections, seconds, [json.dumps(body, separators=(",", ":")), api_key, *_given(key_prefix)])
    used = _Clocks.read(stack, server).since(before)
    answers = int(seen["answers"])
    if answers == 0 or seen["refused"] or seen["broken"]:
        raise BenchmarkFailed(
            f"{server.database}: {seen['refused']} of {answers} answers were no success and "
            f"{seen['broken']} connections broke."
        )
    # wrk hangs up with one request under way on each connection: those may be stored and are not counted.
    stored = _stored(stack, server) - stored_before
    if not answers <= stored <= answers + connections:
        raise BenchmarkFailed(f"{server.database}: {answers} charges were answered and {stored} were stored.")
    return Load(
        answers=answers,
        per_s=answers / (seen["duration_us"] / 1e6),
        p50_ms=seen["p50_us"] / 1000,
        p99_ms=seen["p99_us"] / 1000,
        server_us=used.server_s / answers * 1e6,
        mongod_us=used.mongod_s / answers * 1e6,
        others_share=used.others_share,
    )


def _stored(stack: Stack, server: Server) -> int:
    """How many payments there are once those that were under way have arrived, too."""
    payments = stack.client[server.database]["payments"]
    stored, before = payments.count_documents({}), -1
    while stored != before:
        time.sleep(SETTLE_S)
        stored, before = payments.count_documents({}), stored
    return stored


@dataclass(frozen=True)
class _Clocks:
    """Processor time so far: of the server, of mongod, of wrk, and of everything; and of the machine's idling."""

    server_s: float
    mongod_s: float
    wrk_s: float
    busy_s: float
    total_s: float

    @classmethod
    def read(cls, stack: Stack, server: Server) -> "_Clocks":
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return cls(
            cpu_seconds(server.pid),
            cpu_seconds(stack.mongod_pid),
            children.ru_utime + children.ru_stime,
            *busy_seconds(),
        )

    def since(self, before: "_Clocks") -> "_Clocks":
        return _Clocks(
            self.server_s - before.server_s,
            self.mongod_s - before.mongod_s,
            self.wrk_s - before.wrk_s,
            self.busy_s - before.busy_s,
            self.total_s - before.total_s,
        )

    @property
    def others_share(self) -> float:
        ours_s = self.server_s + self.mongod_s + self.wrk_s
        return max(0.0, self.busy_s - ours_s) / self.total_s


def _given(value: str | None) -> list[str]:
    return [] if value is None else [value]


def _wrk(server: Server, connections: int, seconds: int, arguments: Sequence[str]) -> dict[str, Any]:
    options = ["--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s", "--timeout", "30s"]
    url = f"http://{LOOPBACK}:{server.port}/api/v1/payments/charge"
    run = subprocess.run(
        ["wrk", *options, "--latency", "--script", str(SCRIPT), url, "--", *arguments],
        capture_output=True,
        text=True,
        timeout=seconds + 60,
        check=False,
    )
    for line in run.stdout.splitlines():
        if line.startswith("RESULT "):
            result: dict[str, Any] = json.loads(line.removeprefix("RESULT "))
            return result
    raise BenchmarkFailed(f"wrk failed: {(run.stderr or run.stdout).strip()[:500]}")
