"""Events of 1 KB: the creation of a customer whose description fills the rest."""

from datetime import datetime
from typing import Any

from core import ids, json_codec
from domain.customers import Customer
from schemas.customers import customer_view
from schemas.events import event_body

TYPE = "customer.created"
BYTES = 1024
# What is left beside the rest of the body; `event_of_1_kb` checks it.
_FILLING = 577


def customer_fields() -> dict[str, Any]:
    """What is sent to create such a customer."""
    return {
        "name": "Grace Hopper",
        "email": "grace@example.com",
        "country": "US",
        "description": "d" * _FILLING,
        "metadata": {"orderId": "A-1001"},
    }


def customer(owner_id: str, now: datetime) -> Customer:
    return Customer(id=ids.fresh("cus"), owner_id=owner_id, created_at=now, updated_at=now, **customer_fields())


def data_of(one: Customer) -> bytes:
    return json_codec.dumps(customer_view(one))


def event_of_1_kb(event_id: str, now: datetime) -> bytes:
    """The body of a webhook, signed and sent by nobody yet."""
    body = event_body(event_id, TYPE, now, data_of(customer(ids.fresh("user"), now)))
    assert len(body) == BYTES, f"an event has {len(body)} bytes"
    return body
