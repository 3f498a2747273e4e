"""The charge beside the floor, taking short turns, so that whatever else the machine does meets both alike."""

import secrets
import statistics
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks import load
from benchmarks.client import Account, Client
from benchmarks.load import FIGURES, Load
from benchmarks.stack import BenchmarkFailed, Server, Stack
from benchmarks.working import check_completed, drain

FLOOR = "the floor"
CHARGE = "charge"
WITHOUT_KEY = "charge without Idempotency-Key"
WITH_CARD = "charge with a card"
LIMITED = "charge, RATE_LIMIT on"
WITH_WORKER = "charge, worker embedded"
MANY = 32
WARM_UP_S = 2
# Well below a turn, so that the worker is at work for nearly all of it.
PROCESSING_DELAY_S = 0.1


@dataclass(frozen=True)
class Subject:
    """What is charged: a server, and what a request to it carries."""

    name: str
    server: Server
    api_key: str
    body: Mapping[str, Any] = field(default_factory=lambda: load.BODY)
    with_key: bool = True
    drains: bool = False
    """Whether a worker in the server goes on afterwards; the next turn begins when it has finished."""


@dataclass
class Runs:
    """All turns of one subject at one number of connections."""

    subject: str
    connections: int
    loads: list[Load] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    """Its rate over the floor's in the same turn."""
    drains_s: list[float] = field(default_factory=list)
    """How long the worker still worked after each turn."""

    def median(self, figure: str) -> float:
        return float(statistics.median(getattr(one, figure) for one in self.loads))

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    def as_json(self) -> dict[str, Any]:
        medians = {figure: self.median(figure) for figure in FIGURES}
        return {**asdict(self), "medians": {**medians, "ratio": self.ratio}}


def run(stack: Stack, *, rounds: int, turns: int, seconds: int, tell: Callable[[str], None]) -> list[Runs]:
    """Measure every subject at 32 connections and at one. Raises BenchmarkFailed."""
    subjects = _start(stack)
    for subject in subjects:
        tell(f"warming up: {subject.name}")
        _measure(stack, subject, MANY, WARM_UP_S)
    cases = [(subject, MANY) for subject in subjects]
    cases += [(subject, 1) for subject in subjects if subject.name not in (WITHOUT_KEY, WITH_CARD)]
    results = {(subject.name, connections): Runs(subject.name, connections) for subject, connections in cases}
    for turn in range(rounds * turns):
        # There and back, so that who comes first has no advantage.
        for subject, connections in cases if turn % 2 == 0 else reversed(cases):
            tell(f"round {turn // turns + 1} of {rounds}, {connections} at once: {subject.name}")
            runs = results[subject.name, connections]
            measured, drain_s = _measure(stack, subject, connections, seconds)
            runs.loads.append(measured)
            runs.drains_s.append(drain_s)
        for runs in results.values():
            runs.ratios.append(runs.loads[-1].per_s / results[FLOOR, runs.connections].loads[-1].per_s)
    _check_charges(stack, subjects[1], results)
    check_completed(stack, subjects[-1].server)
    return list(results.values())


def _start(stack: Stack) -> list[Subject]:
    # Each in a database of its own: a worker would take on the payments of its neighbour.
    product = stack.start_product("charge", worker="off")
    limited = stack.start_product("charge_limited", worker="off", app="benchmarks.limited:app", RATE_LIMIT="on")
    working = stack.start_product("charge_worker", worker="embedded", PROCESSING_DELAY_SECONDS=str(PROCESSING_DELAY_S))
    floor = stack.start_floor("floor")
    with Client(product) as client, Client(working) as client_of_working, Client(limited) as client_of_limited:
        api_key = Account(client).api_key
        api_key_of_working = Account(client_of_working).api_key
        api_key_of_limited = Account(client_of_limited).api_key
    return [
        # The floor is sent the very same request, and looks at its body only.
        Subject(FLOOR, floor, api_key),
        Subject(CHARGE, product, api_key),
        Subject(WITHOUT_KEY, product, api_key, with_key=False),
        Subject(WITH_CARD, product, api_key, load.BODY_WITH_CARD),
        Subject(LIMITED, limited, api_key_of_limited),
        Subject(WITH_WORKER, working, api_key_of_working, drains=True),
    ]


def _measure(stack: Stack, subject: Subject, connections: int, seconds: int) -> tuple[Load, float]:
    measured = load.charge(
        stack,
        subject.server,
        connections=connections,
        seconds=seconds,
        api_key=subject.api_key,
        key_prefix=f"bench-{secrets.token_hex(8)}-" if subject.with_key else None,
        body=subject.body,
    )
    return measured, drain(stack, subject.server) if subject.drains else 0.0


def _check_charges(stack: Stack, charge: Subject, results: dict[tuple[str, int], Runs]) -> None:
    """Raises BenchmarkFailed unless each charge was a whole one, with its event and its claim."""
    payments = stack.client[charge.server.database]["payments"]
    stored = payments.count_documents({})
    with_event = payments.count_documents({"outbox.0": {"$exists": True}}, hint="outbox")
    claimed = payments.count_documents({"claim.body": {"$exists": True}})
    keyed = sum(one.answers for runs in results.values() if runs.subject in (CHARGE, WITH_CARD) for one in runs.loads)
    with_card = payments.count_documents({"card.sealed_pan": {"$exists": True}})
    paid_by_card = sum(one.answers for runs in results.values() if runs.subject == WITH_CARD for one in runs.loads)
    if with_card < paid_by_card:
        raise BenchmarkFailed(f"{paid_by_card} were charged to a card and {with_card} have one.")
    if with_event != stored or claimed < keyed:
        raise BenchmarkFailed(
            f"Of {stored} payments {with_event} have an event; {keyed} were charged with a key and {claimed} have one."
        )
