"""How each type of event is caused: the one table of `trigger`."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from commands.api import WAIT_S, Api, CommandFailed
from core import clock
from domain import money
from domain.bank_scenarios import scenario_by_id

Fields = Mapping[str, Any]
"""What the person chose with --set, under the names of the API."""

CHARGE = ("amount", "currency", "customerName", "details", "reference", "webhookUrl", "metadata", "card")
CUSTOMER = ("name", "email", "phone", "country", "description", "metadata")
ENDPOINT = ("url",)
_TEST_URL = "http://localhost:4242/hook"


@dataclass(frozen=True, slots=True)
class Cause:
    """The object that the event is about, and the event's id where the server said which it will be."""

    object_id: str
    event_id: str | None = None
    made_endpoint: Mapping[str, str] | None = None
    """`id`, `url` and `status` of a webhook endpoint that was made for it and goes on being sent to."""


@dataclass(frozen=True, slots=True)
class Recipe:
    how: str
    fields: tuple[str, ...]
    """What --set may choose."""
    carry_out: Callable[[Api, Fields], Awaitable[Cause]]


def _card(scenario_id: str) -> str:
    scenario = scenario_by_id(scenario_id)
    assert scenario is not None, scenario_id
    return scenario.pan


APPROVED, DECLINED, ASKS_3DS, FAILS_TO_REFUND = (
    _card(name)
    for name in ("success_visa", "insufficient_funds", "three_d_secure_required", "refund_pending_then_fails")
)


async def _charge(
    api: Api, fields: Fields, *, card: str = APPROVED, capture: str = "automatic", until: str | None = None
) -> dict[str, Any]:
    """A payment, which has come to this status if one is named. Raises CommandFailed where it came to another one."""
    chosen = dict(fields)
    body = {
        "customerName": "Grace Hopper",
        # Without decimals, which some currencies do not have.
        "paymentAmount": chosen.pop("amount", 100),
        "currency": "USD",
        "capture": capture,
        "card": _typed(chosen.pop("card", card)),
        **chosen,
    }
    payment = await api.post("/payments/charge", body, wait_s=WAIT_S if until else 0)
    if until not in (None, payment["status"]):
        question = " Is a worker running?" if payment["status"] in ("pending", "processing") else ""
        raise CommandFailed(f"{payment['id']} is {payment['status']}, and not {until}.{question}")
    return payment


def _typed(number: str) -> dict[str, Any]:
    american_express = number.startswith(("34", "37"))
    return {
        "number": number,
        "expMonth": 12,
        "expYear": clock.now().year + 5,
        "cvc": "1234" if american_express else "123",
    }


def _charged(**options: str) -> Callable[[Api, Fields], Awaitable[Cause]]:
    async def carry_out(api: Api, fields: Fields) -> Cause:
        return Cause((await _charge(api, fields, **options))["id"])

    return carry_out


async def _cancelled(api: Api, fields: Fields) -> Cause:
    # One that is authorised waits to be cancelled; one that is pending may be on its way to the bank by then.
    payment = await _charge(api, fields, capture="manual", until="authorized")
    await api.post(f"/payments/{payment['id']}/cancel")
    return Cause(payment["id"])


async def _refund(api: Api, fields: Fields, card: str = APPROVED) -> dict[str, Any]:
    payment = await _charge(api, fields, card=card, until="completed")
    return await api.post("/refunds", {"paymentId": payment["id"]})


def _refunded(card: str = APPROVED) -> Callable[[Api, Fields], Awaitable[Cause]]:
    async def carry_out(api: Api, fields: Fields) -> Cause:
        return Cause((await _refund(api, fields, card))["id"])

    return carry_out


async def _wholly_refunded(api: Api, fields: Fields) -> Cause:
    return Cause((await _refund(api, fields))["paymentId"])


async def _partially_refunded(api: Api, fields: Fields) -> Cause:
    payment = await _charge(api, fields, until="completed")
    half_minor = payment["amountMinor"] // 2
    if half_minor == 0:
        raise CommandFailed(f"{payment['id']} is too small to give back a part of it: choose a larger amount.")
    amount = money.to_major(half_minor, payment["currency"])
    await api.post("/refunds", {"paymentId": payment["id"], "amount": amount})
    return Cause(payment["id"])


async def _customer(api: Api, fields: Fields) -> Cause:
    return Cause((await api.post("/customers", {"name": "Grace Hopper", **fields}))["id"])


async def _changed_customer(api: Api, fields: Fields) -> Cause:
    customer = await _customer(api, fields)
    await api.patch(f"/customers/{customer.object_id}", {"description": f"Changed at {clock.rfc3339(clock.now())}"})
    return customer


async def _deleted_customer(api: Api, fields: Fields) -> Cause:
    customer = await _customer(api, fields)
    await api.delete(f"/customers/{customer.object_id}")
    return customer


async def _tested_endpoint(api: Api, fields: Fields) -> Cause:
    made = None
    endpoint_id = None if "url" in fields else await _newest_endpoint(api)
    if endpoint_id is None:
        # It subscribes to nothing else, so that it may stay.
        body = {"url": _TEST_URL, "events": ["webhook.test"], "description": "Made by trigger webhook.test", **fields}
        endpoint = await api.post("/webhook-endpoints", body)
        endpoint_id, made = endpoint["id"], {name: endpoint[name] for name in ("id", "url", "status")}
    return Cause(endpoint_id, (await api.post(f"/webhook-endpoints/{endpoint_id}/test"))["eventId"], made)


async def _newest_endpoint(api: Api) -> str | None:
    listed = (await api.get("/webhook-endpoints", limit=100))["webhookEndpoints"]
    return next((endpoint["id"] for endpoint in listed if endpoint["status"] == "enabled"), None)


def _spaced(pan: str) -> str:
    return " ".join(pan[start : start + 4] for start in range(0, len(pan), 4))


RECIPES: Mapping[str, Recipe] = {
    "payment.created": Recipe("a charge", CHARGE, _charged()),
    "payment.processing": Recipe("a charge", CHARGE, _charged()),
    "payment.requires_action": Recipe(
        f"a charge of {_spaced(ASKS_3DS)}, which asks for 3-D Secure",
        CHARGE,
        _charged(card=ASKS_3DS, until="requires_action"),
    ),
    "payment.authorized": Recipe(
        "a charge with manual capture", CHARGE, _charged(capture="manual", until="authorized")
    ),
    "payment.completed": Recipe("a charge", CHARGE, _charged(until="completed")),
    "payment.failed": Recipe(
        f"a charge of {_spaced(DECLINED)}, which has no money", CHARGE, _charged(card=DECLINED, until="failed")
    ),
    "payment.cancelled": Recipe("a charge with manual capture, cancelled", CHARGE, _cancelled),
    "payment.partially_refunded": Recipe("a charge, half of it refunded", CHARGE, _partially_refunded),
    "payment.refunded": Recipe("a charge, refunded", CHARGE, _wholly_refunded),
    "refund.created": Recipe("a charge, refunded", CHARGE, _refunded()),
    "refund.succeeded": Recipe("a charge, refunded", CHARGE, _refunded()),
    "refund.failed": Recipe(
        f"a charge of {_spaced(FAILS_TO_REFUND)}, refunded: two seconds later it fails",
        CHARGE,
        _refunded(FAILS_TO_REFUND),
    ),
    "customer.created": Recipe("a customer", CUSTOMER, _customer),
    "customer.updated": Recipe("a customer, whose description is changed", CUSTOMER, _changed_customer),
    "customer.deleted": Recipe("a customer, deleted", CUSTOMER, _deleted_customer),
    "webhook.test": Recipe(
        "a test of the newest enabled webhook endpoint, or of a new one", ENDPOINT, _tested_endpoint
    ),
}
"""By event type. What is made stays."""

REFUSED: Mapping[str, str] = {
    "payment.expired": "It happens to an authorised payment that nobody captures for seven days.",
    "webhook.disabled": "It happens to an endpoint whose receiver answers 410, or has failed for five days.",
}
"""The types that no request causes, and why."""
