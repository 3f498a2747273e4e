"""Events that wait for their delivery, written by the product's own publisher as if from customers' outboxes."""

import asyncio
import itertools
from collections.abc import Sequence

from benchmarks.delivery.bodies import TYPE, customer, data_of
from benchmarks.delivery.targets import Subscriber, Subscribers
from benchmarks.stack import BenchmarkFailed, Stack
from core import clock, ids
from core.database import Database
from repositories.deliveries import DeliveryRepository
from repositories.events import EventRepository
from repositories.outbox import Outbox, OutboxEvent, Unpublished
from repositories.refunds import RefundRepository
from repositories.signals import SignalRepository
from repositories.webhook_endpoints import WebhookEndpointRepository
from services.publishing import Publishing
from services.signals import Signals


def fill(stack: Stack, subscribers: Subscribers, count: int) -> None:
    """See that at least so many wait: each a delivery of an event of its own, to one subscriber after the other."""
    if (missing := count - waiting(stack, subscribers)) > 0:
        add(stack, subscribers, subscribers.all, missing)


def add(stack: Stack, subscribers: Subscribers, to: Sequence[Subscriber], count: int) -> None:
    """Let so many more wait for these. Raises BenchmarkFailed where they do not."""
    expected = waiting(stack, subscribers) + count
    asyncio.run(_publish(stack, subscribers.server.database, to, count))
    if waiting(stack, subscribers) != expected:
        raise BenchmarkFailed("What was to wait for its delivery was not published.")
    # What was written reaches the disk now, and not while something is measured.
    stack.client.admin.command("fsync")


def waiting(stack: Stack, subscribers: Subscribers) -> int:
    deliveries = stack.client[subscribers.server.database]["deliveries"]
    return deliveries.count_documents({"state": "pending"}, hint="work")


async def _publish(stack: Stack, name: str, to: Sequence[Subscriber], count: int) -> None:
    database = Database(stack.uri, name, timeout_s=60)
    publishing = Publishing(
        [_Happened(database, to, count)],
        EventRepository(database),
        RefundRepository(database),
        DeliveryRepository(database),
        WebhookEndpointRepository(database),
        Signals(SignalRepository(database), tell_others=False),
    )
    while await publishing.publish_batch(publishing.outboxes):
        pass
    database.close()


class _Happened(Outbox):
    """The outboxes of customers that were just made, and are nowhere else."""

    def __init__(self, database: Database, subscribers: Sequence[Subscriber], count: int):
        super().__init__(database["customers"])
        self._owner_ids = itertools.cycle([one.account.id for one in subscribers])
        self._left = count

    async def unpublished(self, limit: int) -> list[Unpublished]:
        batch = [_unpublished(next(self._owner_ids)) for _ in range(min(limit, self._left))]
        self._left -= len(batch)
        return batch

    async def mark_published(self, published: Sequence[Unpublished]) -> None:
        pass


def _unpublished(owner_id: str) -> Unpublished:
    made = customer(owner_id, clock.now())
    event = OutboxEvent(ids.fresh("evt"), TYPE, made.sequence, made.created_at, data_of(made))
    return Unpublished(made.id, owner_id, None, (event,))
