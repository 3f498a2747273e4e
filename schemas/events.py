"""The registry of event types, and the form in which an event is sent and shown."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field, WithJsonSchema

from core import json_codec
from core.clock import rfc3339
from schemas.common import Moment, MomentBound, RequestModel, ResponseModel
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
    "webhook.disabled": "The service disabled a webhook endpoint; its `disabledReason` says why.",
    "webhook.test": "Asked for at a webhook endpoint, and sent to that one alone.",
}
"""Every type that is emitted, and when. A test holds that each occurs and that no other does."""


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


def matching_types(pattern: str) -> tuple[str, ...]:
    """The types that a pattern stands for: one type itself, all of a kind (`payment.*`), or all there are (`*`).

    Raises ValueError where it stands for none.
    """
    if pattern == "*":
        return tuple(EVENT_TYPES)
    kind, _, rest = pattern.partition(".")
    found = tuple(name for name in EVENT_TYPES if name == pattern or (rest == "*" and name.startswith(f"{kind}.")))
    if not found:
        raise ValueError("no event type, nor a kind of them like payment.*")
    return found


def _known(pattern: str) -> str:
    matching_types(pattern)
    return pattern


_PATTERNS = [*EVENT_TYPES, *dict.fromkeys(f"{name.partition('.')[0]}.*" for name in EVENT_TYPES), "*"]
EventPattern = Annotated[str, AfterValidator(_known), WithJsonSchema({"type": "string", "enum": _PATTERNS})]


class EventQuery(RequestModel):
    type: EventPattern = Field("*", description="One type, or all of a kind: `payment.*`")
    object_id: str | None = Field(None, min_length=1, max_length=64, description="What the event is about")
    created_from: MomentBound | None = Field(None, description="RFC 3339, inclusive")
    created_to: MomentBound | None = Field(None, description="RFC 3339, inclusive")
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
