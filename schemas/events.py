"""The form in which an event is sent and shown."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from pydantic import Field

from core import json_codec
from core.clock import rfc3339
from schemas.common import Moment, MomentGiven, RequestModel, ResponseModel
from schemas.customers import CustomerOut
from schemas.event_types import EVENT_TYPES, EventPattern
from schemas.payments import PaymentOut
from schemas.refunds import RefundOut
from schemas.webhook_endpoints import WebhookEndpointOut


class EventOut(ResponseModel):
    """What happened to an object. These are the bytes that its webhooks send."""

    id: str = Field(examples=["evt_06gztrpz170we29n8r9na1k3t0"])
    event: str = Field(examples=["payment.completed"])
    type: str = Field(description="The same as `event`, under Standard Webhooks' name", examples=["payment.completed"])
    timestamp: Moment
    data: PaymentOut | RefundOut | CustomerOut | WebhookEndpointOut = Field(
        description="The object as the API showed it right after the change"
    )


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


class WebhookEndpointEventOut(EventOut):
    """An event of a webhook endpoint, which is shown as it was right after it."""

    event: str = Field(examples=["webhook.test"])
    type: str = Field(description="The same as `event`, under Standard Webhooks' name", examples=["webhook.test"])
    data: WebhookEndpointOut


_MODELS: Final[Mapping[str, type[EventOut]]] = {
    "payment": PaymentEventOut,
    "refund": RefundEventOut,
    "customer": CustomerEventOut,
    "webhook": WebhookEndpointEventOut,
}
_NAMES = ("event", "type")
"""The two fields that name the type."""


def event_model(event_type: str) -> type[EventOut]:
    """The form of an event of this type, which follows from the kind of object that the type begins with."""
    return _MODELS[event_type.partition(".")[0]]


def event_schema(event_type: str) -> dict[str, Any]:
    """The JSON Schema of an event of this type; what it refers to stands in its `$defs`."""
    schema = event_model(event_type).model_json_schema(ref_template="#/components/schemas/{model}")
    named = {name: {**schema["properties"][name], "const": event_type, "examples": [event_type]} for name in _NAMES}
    return {
        **schema,
        "title": event_schema_name(event_type),
        "description": EVENT_TYPES[event_type],
        "properties": {**schema["properties"], **named},
    }


def event_schema_name(event_type: str) -> str:
    """`PaymentRequiresActionEvent` for `payment.requires_action`."""
    return "".join(word.title() for word in event_type.replace("_", ".").split(".")) + "Event"


class EventQuery(RequestModel):
    type: EventPattern = Field("*", description="One type, or all of a kind: `payment.*`")
    object_id: str | None = Field(None, min_length=1, max_length=64, description="What the event is about")
    created_from: MomentGiven | None = Field(None, description="RFC 3339, inclusive")
    created_to: MomentGiven | None = Field(None, description="RFC 3339, inclusive")
    limit: int = Field(50, ge=1, le=100)
    cursor: str | None = Field(None, max_length=512)


class EventPage(ResponseModel):
    events: list[EventOut]
    total_events: int = Field(description="Exact up to 1,000")
    total_is_lower_bound: bool = Field(description="True where there are more than 1,000")
    has_more: bool
    next_cursor: str | None


def event_body(event_id: str, event_type: str, occurred_at: datetime, data: bytes) -> bytes:
    """The bytes that are sent, on every attempt and to every target. `data` is the object's own JSON."""
    head: dict[str, Any] = {
        "id": event_id,
        "event": event_type,
        "type": event_type,
        "timestamp": rfc3339(occurred_at),
    }
    return json_codec.dumps(head)[:-1] + b',"data":' + data + b"}"
