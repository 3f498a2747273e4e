"""One worker beside the bare sender, to the same fifty receivers, in turns."""

import time
from collections.abc import Callable

from benchmarks.delivery import backlog, outboxes
from benchmarks.delivery.targets import FIRST_S, Rate, Receivers, Subscribers
from benchmarks.figures import Figure
from benchmarks.stack import BenchmarkFailed, Stack
from workers.dispatcher import SLOTS

PART = "throughput"
LEAST_RATIO = 0.4
CONCURRENCY = 64
"""Of the bare sender: of 16, 32, 64 and 128 none was reliably faster on two cores."""
SETTLE_S = 2.0
"""After the first webhook: the slots that each target may have at once grow one by one."""
BARE_SETTLE_S = 1.0
WARM_UP_S = 2.0
OUTBOX_SHARE = 0.5
"""How much stands in outboxes, as a share of what the worker has just delivered in a turn."""


class Throughput:
    """The figures, filled round by round."""

    def __init__(self, stack: Stack, receivers: Receivers, published: Subscribers, unpublished: Subscribers):
        """`published` are sent what waits as deliveries, `unpublished` what still stands in outboxes."""
        self._stack, self._receivers = stack, receivers
        self._published, self._unpublished = published, unpublished
        self.bare = Figure(PART, "bare sender", "posts/s")
        self.worker = Figure(PART, "one worker", "deliveries/s")
        self.from_outbox = Figure(PART, "one worker, publishing inside", "deliveries/s")
        self.ratio = Figure(PART, "one worker over the bare sender", least=LEAST_RATIO)
        self.ratio_from_outbox = Figure(PART, "the same, publishing inside")
        self.bare_us = Figure(PART, "bare sender's CPU for each", "µs")
        self.worker_us = Figure(PART, "worker's CPU for each", "µs")
        self.mongod_us = Figure(PART, "mongod's CPU for each", "µs")

    def run(self, *, rounds: int, seconds: float, tell: Callable[[str], None]) -> list[Figure]:
        tell("throughput: warming up")
        fastest = self._bare_rate(WARM_UP_S).per_s
        for number in range(rounds):
            told = f"throughput, round {number + 1} of {rounds}"
            tell(f"{told}: writing what waits")
            # More than any sender can send in that time.
            backlog.fill(self._stack, self._published, int(fastest * (seconds + SETTLE_S)))
            # There and back, so that who comes first has no advantage.
            if number % 2 == 0:
                tell(f"{told}: the bare sender")
                bare = self._bare_rate(seconds)
            tell(f"{told}: the worker")
            worker = self._worker_rate(seconds)
            tell(f"{told}: the worker, from the outboxes")
            from_outbox_per_s = self._rate_from_outbox(int(worker.per_s * seconds * OUTBOX_SHARE))
            if number % 2 == 1:
                tell(f"{told}: the bare sender")
                bare = self._bare_rate(seconds)
            fastest = max(fastest, bare.per_s)
            self._add(bare, worker, from_outbox_per_s)
        return [
            *(self.bare, self.worker, self.from_outbox, self.ratio, self.ratio_from_outbox),
            *(self.bare_us, self.worker_us, self.mongod_us),
        ]

    def _add(self, bare: Rate, worker: Rate, from_outbox_per_s: float) -> None:
        self.bare.values.append(bare.per_s)
        self.worker.values.append(worker.per_s)
        self.from_outbox.values.append(from_outbox_per_s)
        self.ratio.values.append(worker.per_s / bare.per_s)
        self.ratio_from_outbox.values.append(from_outbox_per_s / bare.per_s)
        self.bare_us.values.append(bare.sender_us)
        self.worker_us.values.append(worker.sender_us)
        self.mongod_us.values.append(worker.mongod_us)

    def _bare_rate(self, seconds: float) -> Rate:
        ports = map(str, self._receivers.answering)
        with self._stack.running_bare_sender(str(CONCURRENCY), *ports) as process:
            return self._receivers.rate(process.pid, seconds, settle_s=BARE_SETTLE_S)

    def _worker_rate(self, seconds: float) -> Rate:
        """Of what is published. Raises BenchmarkFailed where not every attempt was recorded, or too little waited."""
        posts, distinct, recorded = self._receivers.posts, self._receivers.distinct, self._recorded()
        with self._stack.running_worker(self._published.server.database) as pid:
            rate = self._receivers.rate(pid, seconds, settle_s=SETTLE_S)
        if backlog.waiting(self._stack, self._published) <= SLOTS:
            raise BenchmarkFailed("Too little waited for the worker.")
        posts, distinct = self._receivers.posts - posts, self._receivers.distinct - distinct
        recorded = self._recorded() - recorded
        # What is under way when a worker is stopped was received and is not recorded: the next sends it again.
        if not recorded <= posts <= recorded + SLOTS or posts > distinct + SLOTS:
            raise BenchmarkFailed(f"{posts} webhooks of {distinct} events came, and {recorded} attempts were recorded.")
        return rate

    def _rate_from_outbox(self, count: int) -> float:
        """From the first event that is published until all are received. Raises BenchmarkFailed."""
        outboxes.fill(self._stack, self._unpublished, count)
        events = self._stack.client[self._unpublished.server.database]["events"]
        published, posts = events.estimated_document_count(), self._receivers.posts
        with self._stack.running_worker(self._unpublished.server.database):
            deadline = time.monotonic() + FIRST_S
            while events.estimated_document_count() == published:
                if time.monotonic() > deadline:
                    raise BenchmarkFailed(f"The worker had published nothing after {FIRST_S} s.")
                time.sleep(0.02)
            began_at = time.monotonic()
            self._receivers.wait_for(posts + count, FIRST_S + count / 50)
            took_s = time.monotonic() - began_at
            while backlog.waiting(self._stack, self._unpublished):
                time.sleep(0.1)
        return count / took_s

    def _recorded(self) -> int:
        deliveries = self._stack.client[self._published.server.database]["deliveries"]
        return deliveries.count_documents({"state": "delivered", "attempts": {"$size": 1}})
