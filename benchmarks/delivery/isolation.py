"""The rate of healthy targets beside one that never answers and one that drips, over their rate alone, in turns."""

from collections.abc import Callable

from benchmarks.delivery import backlog
from benchmarks.delivery.targets import Receivers, Subscribers, subscribe
from benchmarks.figures import Figure
from benchmarks.stack import BenchmarkFailed, Stack

PART = "isolation"
LEAST_RATIO = 0.95
HEALTHY = 48
IN_TROUBLE = 5_000
"""What waits for each of the two that do not answer."""
SETTLE_S = 2.0


def run(
    stack: Stack,
    receivers: Receivers,
    *,
    rounds: int,
    seconds: float,
    fastest_per_s: float,
    tell: Callable[[str], None],
) -> list[Figure]:
    """`fastest_per_s` bounds what a worker can send, so that enough waits for it."""
    alone = Figure(PART, f"{HEALTHY} healthy targets alone", "deliveries/s")
    beside = Figure(PART, "beside a silent and a dripping one", "deliveries/s")
    ratio = Figure(PART, "beside them over alone", least=LEAST_RATIO)
    healthy = receivers.answering[:HEALTHY]
    # A database for each, so that neither works on what was left for the other.
    quiet = subscribe(stack, "isolation_alone", healthy)
    troubled = subscribe(stack, "isolation_beside", [*healthy, receivers.silent, receivers.dripping])
    tell(f"isolation: letting {IN_TROUBLE:,} wait for each of the two in trouble")
    backlog.add(stack, troubled, troubled.all[HEALTHY:], 2 * IN_TROUBLE)
    for number in range(rounds):
        rates: dict[str, float] = {}
        # There and back, so that who comes first has no advantage.
        cases = [("alone", quiet, 0), ("beside", troubled, 2 * IN_TROUBLE)]
        for name, subscribers, others in cases if number % 2 == 0 else reversed(cases):
            wanted = int(fastest_per_s * (seconds + SETTLE_S)) + others
            tell(f"isolation, round {number + 1} of {rounds}: writing what waits, {name}")
            if (missing := wanted - backlog.waiting(stack, subscribers)) > 0:
                backlog.add(stack, subscribers, subscribers.all[:HEALTHY], missing)
            tell(f"isolation, round {number + 1} of {rounds}: {name}")
            rates[name] = _rate(stack, receivers, subscribers, seconds)
        alone.values.append(rates["alone"])
        beside.values.append(rates["beside"])
        ratio.values.append(rates["beside"] / rates["alone"])
    return [alone, beside, ratio]


def _rate(stack: Stack, receivers: Receivers, subscribers: Subscribers, seconds: float) -> float:
    """What comes to the healthy ones, which alone are counted. Raises BenchmarkFailed where one had too little."""
    with stack.running_worker(subscribers.server.database) as pid:
        rate = receivers.rate(pid, seconds, settle_s=SETTLE_S)
    left = set(stack.client[subscribers.server.database]["deliveries"].distinct("target", {"state": "pending"}))
    if not left.issuperset(one.endpoint_id for one in subscribers.all):
        raise BenchmarkFailed("Too little waited for a target.")
    return rate.per_s
