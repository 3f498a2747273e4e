"""One worker beside the bare sender, to the same fifty receivers, in turns."""

from collections.abc import Callable

from benchmarks.delivery import backlog
from benchmarks.delivery.figures import Figure
from benchmarks.delivery.targets import Rate, Receivers, Subscribers
from benchmarks.stack import BenchmarkFailed, Stack

PART = "throughput"
LEAST_RATIO = 0.4
CONCURRENCY = 64
"""Of the bare sender: the best of 16, 32, 64 and 128 on two cores."""
SETTLE_S = 2.0
"""After the first webhook: the slots that each target may have at once grow one by one."""
SLOTS = 64


def run(
    stack: Stack, receivers: Receivers, subscribers: Subscribers, *, rounds: int, seconds: float, tell: Callable[[str], None]
) -> list[Figure]:
    bare = Figure(PART, "bare sender", "posts/s")
    worker = Figure(PART, "one worker", "deliveries/s")
    ratio = Figure(PART, "one worker over the bare sender", least=LEAST_RATIO)
    bare_us = Figure(PART, "bare sender's CPU for each", "µs")
    worker_us = Figure(PART, "worker's CPU for each", "µs")
    mongod_us = Figure(PART, "mongod's CPU for each", "µs")
    tell("throughput: warming up the bare sender")
    fastest = bare_rate(stack, receivers, 2).per_s
    for number in range(rounds):
        tell(f"throughput, round {number + 1} of {rounds}: writing what waits")
        # More than any sender can send in that time.
        backlog.fill(stack, subscribers, int(1.2 * fastest * (seconds + SETTLE_S)))
        rates: dict[str, Rate] = {}
        # There and back, so that who comes first has no advantage.
        for name in ("bare", "worker") if number % 2 == 0 else ("worker", "bare"):
            tell(f"throughput, round {number + 1} of {rounds}: {name}")
            if name == "bare":
                rates[name] = bare_rate(stack, receivers, seconds)
            else:
                rates[name] = worker_rate(stack, receivers, subscribers, seconds)
        fastest = max(fastest, rates["bare"].per_s)
        bare.values.append(rates["bare"].per_s)
        worker.values.append(rates["worker"].per_s)
        ratio.values.append(rates["worker"].per_s / rates["bare"].per_s)
        bare_us.values.append(rates["bare"].sender_us)
        worker_us.values.append(rates["worker"].sender_us)
        mongod_us.values.append(rates["worker"].mongod_us)
    return [bare, worker, ratio, bare_us, worker_us, mongod_us]


def bare_rate(stack: Stack, receivers: Receivers, seconds: float, concurrency: int = CONCURRENCY) -> Rate:
    with stack.running_bare_sender(str(concurrency), *map(str, receivers.answering)) as process:
        return receivers.rate(process.pid, seconds, settle_s=1)


def worker_rate(stack: Stack, receivers: Receivers, subscribers: Subscribers, seconds: float) -> Rate:
    """What a worker sends of what waits. Raises BenchmarkFailed where it was not all recorded, or all was sent."""
    distinct, posts, recorded = receivers.distinct, receivers.posts, _recorded(stack, subscribers)
    with stack.running_worker(subscribers.server.database) as pid:
        rate = receivers.rate(pid, seconds, settle_s=SETTLE_S)
    if backlog.waiting(stack, subscribers) <= SLOTS:
        raise BenchmarkFailed("Too little waited for the worker.")
    distinct, posts = receivers.distinct - distinct, receivers.posts - posts
    recorded = _recorded(stack, subscribers) - recorded
    # What is under way when a worker is stopped was received and is not recorded: the next sends it again.
    if not recorded <= posts <= recorded + SLOTS or posts > distinct + SLOTS:
        raise BenchmarkFailed(f"{posts} webhooks came, of {distinct} events, and {recorded} attempts were recorded.")
    return rate


def _recorded(stack: Stack, subscribers: Subscribers) -> int:
    deliveries = stack.client[subscribers.server.database]["deliveries"]
    return deliveries.count_documents({"state": "delivered", "attempts": {"$size": 1}})
