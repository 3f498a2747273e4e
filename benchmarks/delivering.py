"""The webhook engine, measured part by part with the same receivers."""

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.delivery import claim, idle, isolation, latency
from benchmarks.delivery.targets import Receivers, subscribe
from benchmarks.delivery.throughput import Throughput
from benchmarks.figures import Figure
from benchmarks.stack import Stack

TARGETS = 50
FASTEST = 1.5
"""A worker is taken to send at most so many times what it has just sent, where enough has to wait for it."""


@dataclass(frozen=True)
class Scale:
    """How long each part is measured in a round, and how much waits or is done."""

    rounds: int
    throughput_s: float
    latency_s: float
    idle_s: float
    isolation_s: float
    done: int


FULL = Scale(rounds=5, throughput_s=30, latency_s=10, idle_s=20, isolation_s=20, done=1_000_000)
QUICK = Scale(rounds=1, throughput_s=5, latency_s=3, idle_s=10, isolation_s=8, done=100_000)


def run(stack: Stack, scale: Scale, *, tell: Callable[[str], None]) -> list[Figure]:
    """Raises BenchmarkFailed."""
    receivers = Receivers(stack, TARGETS)
    tell("delivery: making endpoints")
    published = subscribe(stack, "delivery", receivers.answering)
    unpublished = subscribe(stack, "delivery_outbox", receivers.answering)
    throughput = Throughput(stack, receivers, published, unpublished)
    figures = throughput.run(rounds=scale.rounds, seconds=scale.throughput_s, tell=tell)
    figures += latency.run(
        # Of the two the one where nothing waits.
        stack,
        receivers,
        unpublished,
        rounds=scale.rounds,
        seconds=scale.latency_s,
        tell=tell,
    )
    figures += idle.run(stack, rounds=scale.rounds, seconds=scale.idle_s, tell=tell)
    figures += isolation.run(
        stack,
        receivers,
        rounds=scale.rounds,
        seconds=scale.isolation_s,
        fastest_per_s=FASTEST * max(throughput.worker.values),
        tell=tell,
    )
    figures += claim.run(stack, receivers, rounds=scale.rounds, done=scale.done, tell=tell)
    return figures
