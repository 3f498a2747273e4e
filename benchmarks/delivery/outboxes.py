"""Customers whose creation nobody has published yet, written straight into their collection."""

import itertools
from typing import Any

from benchmarks.client import Client
from benchmarks.delivery.bodies import customer_fields
from benchmarks.delivery.targets import Subscribers
from benchmarks.stack import Stack
from core import clock, ids

_BATCH = 1_000


def fill(stack: Stack, subscribers: Subscribers, count: int) -> None:
    """One for each subscriber is created over HTTP, and all others are like theirs."""
    customers = stack.client[subscribers.server.database]["customers"]
    with Client(subscribers.server) as client:
        made = [client.post("/customers", customer_fields(), one.account.headers) for one in subscribers.all]
    templates = itertools.cycle(list(customers.find({"_id": {"$in": [one["id"] for one in made]}})))
    rows = [_like(template) for template in itertools.islice(templates, count - len(made))]
    for start in range(0, len(rows), _BATCH):
        customers.insert_many(rows[start : start + _BATCH], ordered=False)
    # What was written reaches the disk now, and not while something is measured.
    stack.client.admin.command("fsync")


def _like(template: dict[str, Any]) -> dict[str, Any]:
    (event,) = template["outbox"]
    now = clock.now()
    return {
        **template,
        "_id": ids.fresh("cus"),
        "created_at": now,
        "updated_at": now,
        "outbox": [{**event, "id": ids.fresh("evt"), "at": now}],
    }
