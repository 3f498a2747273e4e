"""One worker beside the floor: how fast it takes payments that wait through the bank to their last event."""

import secrets
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks import load
from benchmarks.client import Account, Client
from benchmarks.stack import BenchmarkFailed, Server, Stack

BANK_INSIDE = "worker, bank inside"
BANK_OVER_HTTP = "worker, bank over HTTP"
CONNECTIONS = 32
WARM_UP_S = 1
DRAIN_S = 600
FIRST_S = 60
EVENTS_A_PAYMENT = 3


@dataclass
class Completions:
    """All turns of a worker with its bank at one place."""

    subject: str
    payments: list[int] = field(default_factory=list)
    rates_per_s: list[float] = field(default_factory=list)
    """Payments that it took from the charge to the last published event, in a second."""
    ratios: list[float] = field(default_factory=list)
    """Its rate over the floor's in the same turn."""

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "medians": {"rate_per_s": statistics.median(self.rates_per_s), "ratio": self.ratio}}


@dataclass(frozen=True)
class _Case:
    results: Completions
    server: Server
    api_key: str
    bank_url: str | None


def run(stack: Stack, *, turns: int, seconds: int, tell: Callable[[str], None]) -> list[Completions]:
    """Measure the worker with its bank inside, and over HTTP. Raises BenchmarkFailed."""
    floor = stack.start_floor("floor_of_work")
    bank = stack.start_bank("work_bank")
    cases = [
        _case(stack, BANK_INSIDE, "work_inside", None),
        _case(stack, BANK_OVER_HTTP, "work_over_http", bank.url),
    ]
    tell("warming up: the floor")
    load.charge(stack, floor, connections=CONNECTIONS, seconds=WARM_UP_S, api_key="none", key_prefix=None)
    for turn in range(turns):
        tell(f"turn {turn + 1} of {turns}: the floor")
        measured = load.charge(
            stack, floor, connections=CONNECTIONS, seconds=seconds, api_key="none", key_prefix=secrets.token_hex(8)
        )
        for case in cases if turn % 2 == 0 else reversed(cases):
            tell(f"turn {turn + 1} of {turns}: {case.results.subject}")
            payments, rate_per_s = _work_off(stack, case, seconds)
            case.results.payments.append(payments)
            case.results.rates_per_s.append(rate_per_s)
            case.results.ratios.append(rate_per_s / measured.per_s)
    for case in cases:
        check_completed(stack, case.server)
    return [case.results for case in cases]


def _case(stack: Stack, name: str, database: str, bank_url: str | None) -> _Case:
    server = stack.start_product(database, worker="off", PROCESSING_DELAY_SECONDS="0")
    with Client(server) as client:
        return _Case(Completions(name), server, Account(client).api_key, bank_url)


def _work_off(stack: Stack, case: _Case, seconds: int) -> tuple[int, float]:
    """Charge for some seconds, start a worker, and see how fast it works off what waits: how many, how many a second.

    The clock starts when the first payment is completed: how long a process takes to start is not the question.
    """
    load.charge(
        stack,
        case.server,
        connections=CONNECTIONS,
        seconds=seconds,
        api_key=case.api_key,
        key_prefix=f"bench-{secrets.token_hex(8)}-",
        body=load.BODY_WITH_CARD,
    )
    payments = stack.client[case.server.database]["payments"]
    waiting = payments.count_documents({"status": "pending"})
    with stack.running_worker(case.server.database, bank_url=case.bank_url):
        deadline = time.monotonic() + FIRST_S
        while (left := payments.count_documents({"status": "pending"})) == waiting:
            if time.monotonic() > deadline:
                raise BenchmarkFailed(f"The worker had taken nothing on after {FIRST_S} s.")
            time.sleep(0.02)
        began_at = time.monotonic()
        drain(stack, case.server)
        return waiting, left / (time.monotonic() - began_at)


def drain(stack: Stack, server: Server) -> float:
    """Wait until the worker has finished every payment and published every event; how long that took, in seconds."""
    payments = stack.client[server.database]["payments"]
    began_at = time.monotonic()
    while time.monotonic() - began_at < DRAIN_S:
        # By the indexes of the work, which hold nothing else.
        due = payments.find_one({"due_at": {"$exists": True}}, {"_id": 1}, hint="due")
        unpublished = payments.find_one({"outbox.0": {"$exists": True}}, {"_id": 1}, hint="outbox")
        if due is None and unpublished is None:
            return time.monotonic() - began_at
        time.sleep(0.1)
    raise BenchmarkFailed(f"The worker had not finished {DRAIN_S} s after the last charge.")


def check_completed(stack: Stack, server: Server) -> None:
    """Raises BenchmarkFailed unless every payment was completed and all of its events were published."""
    database = stack.client[server.database]
    stored = database["payments"].count_documents({})
    completed = database["payments"].count_documents({"status": "completed"})
    events = database["events"].count_documents({})
    if completed != stored or events != EVENTS_A_PAYMENT * stored:
        raise BenchmarkFailed(f"Of {stored} payments {completed} were completed, with {events} events.")
