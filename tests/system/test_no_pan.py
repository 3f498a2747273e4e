"""I7: whatever is done with a card, its number and its security code end up nowhere that anybody could read them."""

import json
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
import pymongo
import pytest
from bson.raw_bson import RawBSONDocument
from pymongo.collection import Collection

from domain.cards import BRANDS, Brand, parse_pan, passes_luhn
from routers.roles import ROLE_TABLE
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD, Server
from tests.factories import Account, Psp
from tests.receiver import Receiver

DATABASE = "no_pan"
COUNT = 500
SEED = 20260711
CVC = {3: "739", 4: "7391"}
LONG_CVC = "73917391739"


@dataclass(frozen=True)
class Card:
    pan: str
    brand: Brand

    @property
    def typed(self) -> str:
        """In groups of four, as it stands on the card."""
        return " ".join(self.pan[start : start + 4] for start in range(0, len(self.pan), 4))

    @property
    def body(self) -> dict[str, Any]:
        cvc = CVC[BRANDS[self.brand].cvc_length]
        return {"number": self.pan, "expMonth": 12, "expYear": 2040, "cvc": cvc}


def cards() -> list[Card]:
    chosen, made = random.Random(SEED), dict[str, Card]()
    while len(made) < COUNT:
        brand = chosen.choice(list(Brand))
        low, high = chosen.choice(BRANDS[brand].prefixes)
        length = chosen.choice(sorted(BRANDS[brand].lengths))
        begun = str(chosen.randint(low, high)).ljust(6, "0")
        begun += "".join(chosen.choices("123456789", k=length - 7))
        pan = next(begun + digit for digit in "0123456789" if passes_luhn(begun + digit))
        made[pan] = Card(*parse_pan(pan))
    return list(made.values())


@dataclass
class World:
    """A merchant with a customer and a payment key, and every answer that anybody has got."""

    psp: Psp
    account: Account
    root: dict[str, str]
    hook: str
    answers: list[httpx.Response]
    customer: str = ""
    payment_key: str = ""

    def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {**self.account.key, **options.pop("headers", {})}
        answer = self.psp.client.request(method, path, headers=headers, **options)
        self.answers.append(answer)
        assert answer.status_code < 500, (method, answer.text)
        return answer

    def post(self, path: str, body: object, expected: int, **headers: str) -> Any:
        answer = self.send("POST", f"/api/v1{path}", json=body, headers=headers)
        assert answer.status_code == expected, (path, answer.text)
        return answer.json()

    def charge(self, expected: int = 201, **fields: Any) -> Any:
        return self.post(
            "/payments/charge", {"customerName": "Grace", "paymentAmount": 10, "currency": "USD", **fields}, expected
        )


# What is done with a card: each with about as many of the numbers.


def pay(world: World, card: Card) -> None:
    payment = world.charge(card=card.body, webhookUrl=world.hook)
    world.send("GET", f"/api/v1/payments/{payment['id']}")


def pay_as_typed(world: World, card: Card) -> None:
    world.charge(card={**card.body, "number": card.typed, "holderName": "Grace Hopper"}, capture="manual")
    world.charge(card={**card.body, "number": card.typed.replace(" ", "-")})


def pay_twice_with_one_key(world: World, card: Card) -> None:
    body = {"customerName": "Grace", "paymentAmount": 10, "currency": "USD", "card": card.body}
    key = {"Idempotency-Key": f"once-{card.pan[-4:]}-{card.pan[:6]}", "Prefer": "wait=0"}
    world.post("/payments/charge", body, 201, **key)
    world.post("/payments/charge", body, 201, **key)
    world.post("/payments/charge", {**body, "card": {**card.body, "expYear": 2041}}, 422, **key)


def pay_from_a_browser(world: World, card: Card) -> None:
    body = {"customerName": "Grace", "paymentAmount": 10, "currency": "USD", "card": card.body}
    world.post("/payments/charge", body, 201, **{"X-Payment-Key": world.payment_key})


def make_a_token(world: World, card: Card) -> None:
    token = world.post("/tokens", card.body, 201)
    world.charge(cardToken=token["id"])
    world.charge(409, cardToken=token["id"])


def save(world: World, card: Card) -> None:
    saved = world.post(f"/customers/{world.customer}/cards", {"card": card.body}, 201)
    world.charge(cardId=saved["id"])
    world.send("GET", f"/api/v1/customers/{world.customer}/cards", params={"limit": 100})
    world.send("DELETE", f"/api/v1/customers/{world.customer}/cards/{saved['id']}")


def pay_for_a_customer(world: World, card: Card) -> None:
    body = {"paymentAmount": 10, "currency": "EUR", "card": card.body}
    world.post(f"/customers/{world.customer}/payments", body, 201)
    world.post("/customers/cus_none/payments", body, 404)


BROKEN: Mapping[str, Callable[[Card], dict[str, Any]]] = {
    "a digit too many": lambda card: {"number": card.pan + "7"},
    "a digit wrong": lambda card: {"number": card.pan[:-1] + str((int(card.pan[-1]) + 1) % 10)},
    "a letter": lambda card: {"number": card.pan + "x"},
    "as a number": lambda card: {"number": int(card.pan)},
    "in a list": lambda card: {"number": [card.pan]},
    "in an object": lambda card: {"number": {"$eq": card.pan}},
    "expired": lambda _: {"expYear": 2020},
    "no month": lambda _: {"expMonth": 13},
    "a short code": lambda _: {"cvc": "73"},
    "a long code": lambda _: {"cvc": LONG_CVC},
    "a code as a number": lambda _: {"cvc": 73917391739},
    "the number as its code": lambda card: {"cvc": card.pan},
    "the number as its month": lambda card: {"expMonth": card.pan},
    "the number as its year": lambda card: {"expYear": int(card.pan)},
    "the code as its month": lambda card: {"expMonth": card.body["cvc"]},
    "a very long name": lambda card: {"holderName": f"{card.typed}; " * 20},
    "a misspelt number": lambda card: {"numbr": card.pan},
    "a misspelt code": lambda card: {"cvv": LONG_CVC},
    "the number as a field": lambda card: {card.pan: "x"},
}


def pay_with_what_is_broken(world: World, card: Card) -> None:
    for wrong in BROKEN.values():
        body = {**card.body, **wrong(card)}
        world.charge(422, card=body)
        world.post("/tokens", body, 422)
        world.post(f"/customers/{world.customer}/cards", {"card": body}, 422)


def put_it_in_the_wrong_field(world: World, card: Card) -> None:
    for field in ("cardToken", "cardId"):
        world.charge(404, **{field: card.pan})
        world.charge(422, **{field: f"{card.typed}; " * 5})
        for beside in (f"{card.pan} 12 40", f"12 {card.typed}", card.typed.replace(" ", "  "), f"1{card.pan}1240"):
            world.charge(404, **{field: beside})
    world.post(f"/customers/{world.customer}/cards", {"cardToken": card.pan}, 404)
    world.charge(422, card=card.pan)
    world.charge(422, card=[card.body])
    for field in ("Card", "crad", "number", "cardNumber", card.pan):
        world.charge(422, **{field: card.pan})
    world.charge(422, paymentAmount=int(card.pan), card=card.body, currency="JPY")
    for number in (int(card.pan), float(card.pan)):
        world.charge(422, customerName=number, reference=number)
    world.charge(404, card=card.body, customerId="cus_none")
    world.charge(422, card=card.body, cardToken=card.pan)
    world.post("/tokens", [card.body], 422)
    world.post("/tokens", card.pan, 422)


def send_what_is_no_json(world: World, card: Card) -> None:
    good = json.dumps(card.body).encode()
    bodies = [good[:-1], good + b"}", good.replace(b'"number"', b"number"), b"[" * 40 + good, b"\xff" + good]
    bodies += [good[:-1] + b', "number": "%s"}' % card.pan.encode(), good.replace(b'"cvc"', b'"a\\u0000"')]
    for path in ("/payments/charge", "/tokens", f"/customers/{world.customer}/cards"):
        for body in bodies:
            answer = world.send(
                "POST", f"/api/v1{path}", content=body, headers={"Content-Type": "application/json", **world.root}
            )
            assert answer.status_code in (422, 403), answer.text
    world.send("POST", "/api/v1/tokens", data={key: str(value) for key, value in card.body.items()})
    world.send(
        "POST", "/api/v1/tokens", content=good, headers={"X-API-Key": "none", "Content-Type": "application/json"}
    )


FLOWS = (
    pay,
    pay_as_typed,
    pay_twice_with_one_key,
    pay_from_a_browser,
    make_a_token,
    save,
    pay_for_a_customer,
    pay,
    make_a_token,
    save,
)
ODD_FLOWS = (pay_with_what_is_broken, put_it_in_the_wrong_field, send_what_is_no_json)
ODD_COUNT = 24


def call_every_route_with(world: World, card: Card) -> None:
    """As each part of a path, as a query value with and without spaces, and as a body's field."""
    for method, path in ROLE_TABLE:
        if "{" in path:
            for number in (card.pan, card.typed, card.typed.replace(" ", "-"), f"{card.pan} 12 40"):
                world.send(method, re.sub(r"\{\w+\}", number, path.replace("{resource}", "users")), headers=world.root)
            world.send(method, re.sub(r"\{\w+\}", card.pan, path), headers=world.root)
        plain = re.sub(r"\{\w+\}", "none", path)
        for name in ("number", "limit", "cursor", "status", card.pan):
            for value in (card.pan, card.typed):
                world.send(method, plain, params={name: value})
        world.send(method, plain, json=card.body, headers=world.root)


@pytest.fixture
def world(start_server: Callable[..., Server], receiver: Receiver) -> Iterator[World]:
    server = start_server(MONGODB_DB=DATABASE)
    limits = httpx.Limits(max_connections=8)
    with httpx.Client(base_url=server.url, timeout=35, verify=False, limits=limits) as client:
        psp = Psp(client, ADMIN_EMAIL, ADMIN_PASSWORD)
        world = World(psp, psp.register(), psp.root(), receiver.url, [])
        world.customer = world.post("/customers", {"name": "Ada"}, 201)["id"]
        world.payment_key = world.post("/payment-keys", {"maxUses": None}, 201)["paymentKey"]
        yield world


@pytest.mark.long
def test_no_number_and_no_security_code_is_anywhere(
    world: World, mongo: pymongo.MongoClient[dict[str, Any]], receiver: Receiver, tmp_path: Any
) -> None:
    made = cards()
    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(flow_of(number), world, card) for number, card in enumerate(made)]
    for flow in done:
        flow.result()
    call_every_route_with(world, made[0])
    webhooks = receiver.wait_for(100)
    wait_until_all_is_done(mongo)

    places = everything_in(mongo)
    places["answers"] = [answer.content + str(answer.headers.raw).encode() for answer in world.answers]
    places["webhooks"] = [webhook.body + str(webhook.headers).encode() for webhook in webhooks]
    places["log"] = [log.read_bytes() for log in tmp_path.glob("*.log")]

    collections = ("payments", "card_tokens", "cards", "events", "bank_authorisations")
    for place in (*collections, "oplog", "answers", "webhooks", "log"):
        assert places[place], f"nothing was looked at in {place}"
    assert {place: found for place, blobs in places.items() if (found := leaks(blobs, made))} == {}


def wait_until_all_is_done(mongo: pymongo.MongoClient[dict[str, Any]]) -> None:
    """Until the bank has decided everything, and every event is published."""
    unfinished = {"$or": [{"status": {"$in": ["pending", "processing"]}}, {"outbox.0": {"$exists": True}}]}
    deadline = time.monotonic() + 60
    while mongo[DATABASE]["payments"].count_documents(unfinished):
        assert time.monotonic() < deadline, "some payments did not come to their end"
        time.sleep(0.1)


def flow_of(number: int) -> Callable[[World, Card], None]:
    """The last of the numbers go through what is wrong, which takes dozens of requests each."""
    flows = FLOWS if number < COUNT - ODD_COUNT else ODD_FLOWS
    return flows[number % len(flows)]


def everything_in(mongo: pymongo.MongoClient[dict[str, Any]]) -> dict[str, list[bytes]]:
    database = mongo[DATABASE]
    places = {name: raw(database[name]) for name in database.list_collection_names()}
    own = {"$regex": f"^{DATABASE}\\."}
    places["oplog"] = raw(mongo.local["oplog.rs"], {"$or": [{"ns": own}, {"o.applyOps.ns": own}]})
    return places


def raw(collection: Collection[Any], query: dict[str, Any] | None = None) -> list[bytes]:
    options = collection.codec_options.with_options(document_class=RawBSONDocument)
    return [document.raw for document in collection.with_options(options).find(query or {})]


_DIGITS = re.compile(rb"[0-9](?:(?:[ +-]|%20|%2B)*[0-9]){11,}")
_SEPARATORS = re.compile(rb"[ +-]|%20|%2B")
# As a text or a number of JSON, in an address, as a text or a number of BSON.
_CVC = re.compile(
    rb'[:=,\[] ?"?(?:739|7391)(?![0-9])|739173917'
    rb"|(?:\x04\0\0\0739|\x05\0\0\x007391)\0|\x10cvc\0|\x02cvc\0(?!\x04\0\0\0XXX)"
)


def leaks(blobs: list[bytes], made: list[Card]) -> list[bytes]:
    pans = [card.pan.encode() for card in made]
    found: list[bytes] = []
    for blob in blobs:
        for run in _DIGITS.findall(blob):
            digits = _SEPARATORS.sub(b"", run)
            found += [blob for pan in pans if pan in digits]
        found += _CVC.findall(blob)
    return found[:5]
