"""What becomes of webhooks when the receiver is in trouble, on purpose."""

import time

import httpx
from conftest import Receiver


def charge(psp: httpx.Client, webhook_url: str) -> str:
    endpoint = {"url": webhook_url, "events": ["payment.completed"]}
    psp.post("/webhook-endpoints", json=endpoint).raise_for_status()
    body = {"customerName": "Grace Hopper", "paymentAmount": 10, "currency": "EUR"}
    return str(psp.post("/payments/charge", json=body, headers={"Prefer": "wait=30"}).raise_for_status().json()["id"])


def deliveries(psp: httpx.Client, url: str, status: str) -> list[dict[str, object]]:
    """Once there are any."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = psp.get("/deliveries", params={"status": status}).json()["deliveries"]
        if mine := [one for one in found if one["url"] == url]:
            return mine
        time.sleep(0.1)
    raise AssertionError(f"no delivery to {url} is {status}")


def test_a_webhook_is_sent_again_with_the_same_id(psp: httpx.Client, receiver: Receiver) -> None:
    receiver.failures = 2
    charge(psp, receiver.url)
    (delivery,) = deliveries(psp, receiver.url, "delivered")

    assert delivery["attemptCount"] == 3
    assert receiver.ids == [delivery["eventId"]] * 3


def test_what_was_given_up_can_be_sent_again(psp: httpx.Client, receiver: Receiver) -> None:
    receiver.failures = 4
    charge(psp, receiver.url)
    (dead,) = deliveries(psp, receiver.url, "dead")

    psp.post(f"/deliveries/{dead['id']}/resend").raise_for_status()

    assert deliveries(psp, receiver.url, "delivered")
    assert len(receiver.ids) == 5
