"""The registry of event types, and how a client names some of them."""

from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import AfterValidator, WithJsonSchema

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


def matching_types(pattern: str) -> tuple[str, ...]:
    """The types that a pattern stands for: one type itself, all of a kind (`payment.*`), or all there are (`*`).

    Raises ValueError where it stands for none.
    """
    if pattern == "*":
        return tuple(EVENT_TYPES)
    kind, _, rest = pattern.partition(".")
    found = tuple(name for name in EVENT_TYPES if name == pattern or (rest == "*" and name.startswith(f"{kind}.")))
    if not found:
        raise ValueError("no event type, nor a kind of them like payment.*; /docs lists them all")
    return found


def _known(pattern: str) -> str:
    matching_types(pattern)
    return pattern


_PATTERNS = [*EVENT_TYPES, *dict.fromkeys(f"{name.partition('.')[0]}.*" for name in EVENT_TYPES), "*"]
EventPattern = Annotated[str, AfterValidator(_known), WithJsonSchema({"type": "string", "enum": _PATTERNS})]
