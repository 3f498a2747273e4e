"""What an answer leads to: the links of the OpenAPI document (OpenAPI 3.1, section 4.8.20).

An id that an answer holds opens every operation with a path parameter of that name, so a new route is linked by itself;
a new kind of object needs a row here.
"""

from collections.abc import Iterator, Mapping
from typing import Any

Link = dict[str, Any]

FOUND: Mapping[str, Mapping[str, str]] = {
    "charge": {"payment_id": "/id"},
    "charge_customer": {"payment_id": "/id", "customer_id": "/customerId"},
    "list_all": {"payment_id": "/transactions/0/id"},
    "create_refund": {"refund_id": "/id", "payment_id": "/paymentId"},
    "create_customer": {"customer_id": "/id"},
    "save_card": {"card_id": "/id", "customer_id": "/customerId"},
    "create_payment_key": {"payment_key_id": "/id"},
    "create_webhook_endpoint": {"endpoint_id": "/id"},
    "send_test_webhook": {"event_id": "/eventId", "delivery_id": "/deliveryId"},
    "list_events": {"event_id": "/events/0/id"},
    "list_deliveries": {"delivery_id": "/deliveries/0/id"},
    "list_incoming_webhooks": {"webhook_id": "/incomingWebhooks/0/id"},
    "create_resend_job": {"job_id": "/id"},
    "register": {"user_id": "/userId"},
    "list_sessions": {"session_id": "/sessions/0/id"},
    "create_api_key": {"api_key_id": "/id"},
}
"""Where an operation's answer holds the value of which path parameter, as JSON pointers (RFC 6901)."""

DELETED_AS: Mapping[str, str] = {"payment_id": "payments", "user_id": "users"}
"""What the generic DELETE calls a thing."""

BODIES: Mapping[tuple[str, str], Mapping[str, Any]] = {
    ("register", "login"): {"email": "$request.body#/email", "password": "$request.body#/password"},
    ("register", "token"): {"username": "$request.body#/email", "password": "$request.body#/password"},
    ("login", "refresh"): {"refresh_token": "$response.body#/refresh_token"},
    ("login", "change_password"): {
        "currentPassword": "$request.body#/password",
        "newPassword": "staple-of-the-battery",
    },
    ("create_token", "charge"): {
        "customerName": "Grace Hopper",
        "paymentAmount": 100.5,
        "currency": "USD",
        "cardToken": "$response.body#/id",
    },
    ("charge", "create_refund"): {"paymentId": "$response.body#/id"},
}
"""Whole bodies that can be sent after an operation, made of what was sent and answered there."""


def links_of(operation_id: str, path_parameters: Mapping[str, frozenset[str]]) -> dict[str, Link]:
    """The links of an operation's success, by the target's id. `path_parameters` has those of every operation."""
    return {link["operationId"]: link for link in _links_of(operation_id, path_parameters)}


def _links_of(operation_id: str, path_parameters: Mapping[str, frozenset[str]]) -> Iterator[Link]:
    found = {name: f"$response.body#{pointer}" for name, pointer in FOUND.get(operation_id, {}).items()}
    for target, needed in path_parameters.items():
        if needed and needed <= found.keys():
            yield {"operationId": target, "parameters": {name: found[name] for name in sorted(needed)}}
    for name in DELETED_AS.keys() & found.keys():
        yield {
            "operationId": "delete_resource",
            "parameters": {"resource": DELETED_AS[name], "resource_id": found[name]},
        }
    for (source, target), body in BODIES.items():
        if source == operation_id:
            yield {"operationId": target, "requestBody": dict(body)}
