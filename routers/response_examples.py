"""An example of every success in the OpenAPI document, made of the examples that its schemas give field by field.

Whole objects that events carry as well are shown as events show them: made by the rules, so that their fields agree.
"""

from collections.abc import Mapping
from typing import Any

from schemas.event_examples import EVENT_EXAMPLES

Schema = dict[str, Any]

_PAYMENT = EVENT_EXAMPLES["payment.completed"]
_ENDPOINT = EVENT_EXAMPLES["webhook.test"]["data"]
_WHOLE: Mapping[str, Any] = {
    "EventOut": _PAYMENT,
    "PaymentOut": _PAYMENT["data"],
    "RefundOut": EVENT_EXAMPLES["refund.succeeded"]["data"],
    "CustomerOut": EVENT_EXAMPLES["customer.created"]["data"],
    "WebhookEndpointOut": _ENDPOINT,
    "WebhookEndpointMade": {**_ENDPOINT, "secret": "whsec_…"},
}
_UNSEEN: Mapping[str, Any] = {"boolean": False, "integer": 1, "object": {}}
"""Shown for what needs no example of its own."""
_ALL_WENT_WELL = frozenset({"deadReason", "lastError", "error", "nextAttemptAt", "endedAt"})
"""What only an object has that something happened to, other than what its example shows."""


def example_of(schema: Schema, schemas: Mapping[str, Schema]) -> Any:
    """What could be answered in this form. Raises LookupError for a text or number that gives no example of itself."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return _WHOLE.get(name) or example_of(schemas[name], schemas)
    stated = (schema[name] for name in ("const", "default") if schema.get(name) is not None)
    for given in (*schema.get("examples", ()), *schema.get("enum", ()), *stated):
        return given
    if "anyOf" in schema:
        return _either(schema["anyOf"], schemas)
    if schema.get("type") == "array":
        return [example_of(schema["items"], schemas)]
    if "properties" in schema:
        return {name: _field(name, inner, schemas) for name, inner in schema["properties"].items()}
    try:
        return _UNSEEN[schema["type"]]
    except KeyError:
        raise LookupError(f"there is no example of {schema}") from None


def _either(forms: list[Schema], schemas: Mapping[str, Schema]) -> Any:
    """The first form that has something to show; null where none has and null is one of them."""
    null = {"type": "null"}
    shown = (form for form in forms if form != null and (null not in forms or "type" not in form or "examples" in form))
    return next((example_of(form, schemas) for form in shown), None)


def _field(name: str, schema: Schema, schemas: Mapping[str, Schema]) -> Any:
    if name in _ALL_WENT_WELL and {"type": "null"} in schema.get("anyOf", ()):
        return None
    try:
        return example_of(schema, schemas)
    except LookupError as error:
        raise LookupError(f"{name}: {error.args[0]}") from None
