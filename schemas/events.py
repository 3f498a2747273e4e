"""The registry of event types, and the form in which an event is sent."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from pydantic import Field

from core import json_codec
from core.clock import rfc3339
from schemas.common import Moment, ResponseModel
from schemas.customers import CustomerOut
from schemas.payments import PaymentOut
from schemas.refunds import RefundOut
from schemas.webhook_endpoints import WebhookEndpointOut

EVENT_TYPES: Final[Mapping[str, str]] = {
    "payment.created": "A charge was accepted.",
    "payment.processing": "The payment is on its way to the bank.",
    "payment.requires_action": "The cardholder is asked by 3-D Secure, at the payment's `nextAction.url`.",
    "payment.authorized": "The bank holds the money until it is captured.",
    "payment.completed": "The money has moved.",
    "payment.failed": "The bank declined, or the cardholder was not authenticated; `failure` says why.",
    "payment.cancelled": "The payment was called off before any money moved.",
    "payment.expired": "Nobody captured the authorised money in time.",
    "payment.partially_refunded": "A part of the money was given back.",
    "payment.refunded": "All of the money was given back.",
    "refund.created": "A refund was requested.",
    "refund.succeeded": "The bank has given the money back.",
    "refund.failed": "The bank refused; what was reserved can be refunded again.",
    "customer.created": "A customer was made.",
    "customer.updated": "Something of a customer changed.",
    "customer.deleted": "A customer was deleted.",
    "webhook.test": "Asked for at a webhook endpoint, and sent to that one alone.",
}
"""Every type that is emitted, and when. A test holds that each occurs and that no other does."""


class EventOut(ResponseModel):
    """The body of an outgoing webhook."""

    id: str = Field(examples=["evt_06gztrpz170we29n8r9na1k3t0"])
    event: str = Field(examples=["payment.completed"])
    type: str = Field(description="The same as `event`, under Standard Webhooks' name", examples=["payment.completed"])
    timestamp: Moment


class PaymentEventOut(EventOut):
    """An event of a payment, which is shown as it was right after it."""

    data: PaymentOut


class RefundEventOut(EventOut):
    """An event of a refund, which is shown as it was right after it. Its payment numbers it among its own events."""

    event: str = Field(examples=["refund.succeeded"])
    type: str = Field(description="The same as `event`, under Standard Webhooks' name", examples=["refund.succeeded"])
    data: RefundOut


class CustomerEventOut(EventOut):
    """An event of a customer, who is shown as they were right after it."""

    event: str = Field(examples=["customer.created"])
    type: str = Field(description="The same as `event`, under Standard Webhooks' name", examples=["customer.created"])
    data: CustomerOut


class WebhookTestEventOut(EventOut):
    """A test of a webhook endpoint, which is shown as it was then."""

    event: str = Field(examples=["webhook.test"])
    type: str = Field(description="The same as `event`, under Standard Webhooks' name", examples=["webhook.test"])
    data: WebhookEndpointOut


_MODELS: Final[Mapping[str, type[EventOut]]] = {
    "payment": PaymentEventOut,
    "refund": RefundEventOut,
    "customer": CustomerEventOut,
    "webhook": WebhookTestEventOut,
}


def event_model(event_type: str) -> type[EventOut]:
    """The form of an event of this type, which follows from the kind of object that the type begins with."""
    return _MODELS[event_type.partition(".")[0]]


def event_body(event_id: str, event_type: str, occurred_at: datetime, data: bytes) -> bytes:
    """The bytes that are sent, on every attempt and to every target. `data` is the object's own JSON."""
    head: dict[str, Any] = {
        "id": event_id,
        "event": event_type,
        "type": event_type,
        "timestamp": rfc3339(occurred_at),
    }
    return json_codec.dumps(head)[:-1] + b',"data":' + data + b"}"
