"""Which delivery is which: the ids under which they are stored, and where an event is sent again."""

import pytest

from core import clock
from domain.webhook_endpoints import TEST_EVENT, WebhookEndpoint
from repositories.delivery_documents import DeliveryState
from repositories.delivery_log import EventDelivery
from repositories.events import EventHead
from services.event_targets import Target, failed, new_delivery, subscribed

ENDPOINT = Target("https://x.example/hook", "we_1")
OWN_URL = Target("https://shop.example/hook")
EVENT = EventHead("evt_1", "payment.created", "user_1", "txn_1", 7, clock.now())
NOW = clock.now()
DELIVERED, DEAD, PENDING = DeliveryState.DELIVERED, DeliveryState.DEAD, DeliveryState.PENDING


def endpoint(endpoint_id: str) -> WebhookEndpoint:
    return WebhookEndpoint(endpoint_id, "user_1", ENDPOINT.url, ("*",), b"", NOW, NOW)


@pytest.mark.parametrize(
    ("target", "resend_id", "delivery_id"),
    [
        (ENDPOINT, None, "dlv_6dd04cyskmkn4xf1p7shfd77m0"),
        (OWN_URL, None, "dlv_r7py9hnrtbkx9pe0khpbc9v4d0"),
        (ENDPOINT, "rs_1", "dlv_6hbjtjngz29e75h1e55hdfrh3g"),
        (OWN_URL, "rs_1", "dlv_x5xh10kcbr1te1d6eeqxxyv4tw"),
    ],
)
def test_a_delivery_has_the_id_that_it_always_had(target: Target, resend_id: str | None, delivery_id: str) -> None:
    """Another one would send again what was published by the version before."""
    assert new_delivery(EVENT, target, clock.now(), resend_id).id == delivery_id


def test_a_delivery_is_throttled_by_its_endpoint_or_by_the_origin_of_its_url() -> None:
    now = clock.now()
    first, own = (new_delivery(EVENT, target, now) for target in (ENDPOINT, OWN_URL))

    assert (first.target, first.endpoint_id, first.url) == ("we_1", "we_1", ENDPOINT.url)
    assert (own.target, own.endpoint_id, own.url) == ("https://shop.example:443", None, OWN_URL.url)
    for one in (first, own):
        assert (one.owner_id, one.stream_id, one.sequence, one.due_at) == ("user_1", "txn_1", 7, now)
        assert (one.event_id, one.event_type, one.resend_id) == ("evt_1", "payment.created", None)


def test_a_test_event_is_its_endpoints_alone() -> None:
    endpoints = [endpoint(f"we_{number}") for number in range(3)]
    test_event = EventHead("evt_1", TEST_EVENT, "user_1", "we_1", 1, clock.now())

    assert subscribed(test_event, endpoints) == [endpoint("we_1")]
    assert len(subscribed(EVENT, endpoints)) == 3


@pytest.mark.parametrize(
    ("states", "sent"),
    [
        ([DEAD], True),
        ([DEAD, DEAD], True),
        ([DEAD, PENDING], False),
        ([DEAD, DELIVERED], False),
        ([DELIVERED, DEAD, PENDING], False),
        ([PENDING], False),
        ([DELIVERED], False),
        ([], False),
    ],
)
def test_an_event_failed_where_it_has_nothing_but_dead_letters(states: list[DeliveryState], sent: bool) -> None:
    endpoints = [endpoint("we_1")]
    fared = [
        EventDelivery("evt_1", target.endpoint_id, target.url, state, None)
        for state in states
        for target in (ENDPOINT, OWN_URL)
    ]

    assert failed(fared, endpoints) == ([ENDPOINT, OWN_URL] if sent else [])
    assert failed(fared, []) == ([OWN_URL] if sent else []), "an endpoint that takes nothing now"
