"""Payments as they could have come about: drawn by chance, and then lived by the rules, ours and the bank's.

Each follows from the seed and its own number alone, so that half a run can be completed, and a small one made larger.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random
from typing import Final

from bank import rules as bank
from bank.rules import Authorisation
from core import ids
from domain import payments as rules
from domain.acquiring import Operation, OperationKind
from domain.bank_answers import answered
from domain.bank_scenarios import Scenario, scenario_of
from domain.cards import CardDetails
from domain.money import EXPONENTS
from domain.payments import CaptureMethod, Change, Payment, PaymentEvent, Status
from services.vault import CardVault

SPAN: Final = timedelta(days=180)
_DAYS: Final = SPAN.days - 1
_STRIDE: Final = 111
"""From one payment's day to the next one's: the golden section of all, so that a few payments are spread as well."""
_PAYMENTS_A_CUSTOMER: Final = 8
_NO_CARD: Final = 0.12
_CARDS: Mapping[str, int] = {
    "4242424242424242": 45,
    "5555555555554444": 30,
    "378282246310005": 10,
    "6011111111111117": 5,
    "3566002020360505": 3,
    "4000000000009995": 3,
    "4000000000000002": 2,
    "4000000000000069": 1,
    "4100000000000019": 1,
}
"""Test cards, and how often each is used: seven in a hundred are declined."""
_ENDINGS: Mapping[str, int] = {
    "kept": 84,
    "refunded": 5,
    "partly refunded": 4,
    "captured": 4,
    "voided": 1,
    "expired": 2,
}
_FIRST_NAMES = (
    "Ada",
    "Alan",
    "Barbara",
    "Claude",
    "Donald",
    "Edsger",
    "Frances",
    "Grace",
    "Hedy",
    "Ida",
    "Jean",
    "Ken",
)
_LAST_NAMES = ("Allen", "Bartik", "Church", "Dijkstra", "Goldwasser", "Hopper", "Knuth", "Lamarr", "Liskov", "Turing")


@dataclass(frozen=True, slots=True)
class Trade:
    """What a seeded merchant sells."""

    name: str
    currencies: tuple[str, ...]
    """The first takes most of it."""
    least: int
    most: int
    """In major units, before the currency's own size."""
    what: tuple[str, ...]


TRADES: tuple[Trade, ...] = (
    Trade("Acme Travel", ("EUR", "USD", "GBP"), 40, 900, ("Two nights in Vienna", "Return ticket", "City tour")),
    Trade("Blue Bottle Books", ("USD", "EUR"), 8, 120, ("Two paperbacks", "A textbook", "A gift card")),
    Trade("Corner Coffee", ("EUR",), 3, 45, ("Beans, 1 kg", "Breakfast for two", "Subscription, one month")),
    Trade("Delta Games", ("JPY", "USD"), 5, 90, ("Season pass", "A game", "Coins")),
    Trade("Evergreen Gardens", ("GBP", "EUR"), 12, 400, ("Three roses", "A lawn mower", "Bulbs")),
)
_SIZES: Mapping[str, int] = {"JPY": 100}
"""How many times as much a price is in a currency whose unit is small."""


@dataclass(frozen=True, slots=True)
class Merchant:
    account_id: str
    trade: Trade


@dataclass(frozen=True, slots=True)
class Buyer:
    """A customer of a merchant, by number."""

    id: str
    name: str
    number: int


def buyer(seed: int, merchant: Merchant, number: int) -> Buyer:
    chance = Random(f"{seed}:{merchant.account_id}:{number}")  # noqa: S311 - made-up data
    name = f"{chance.choice(_FIRST_NAMES)} {chance.choice(_LAST_NAMES)}"
    return Buyer(ids.derived("cus", merchant.account_id, "seed", str(number)), name, number)


def in_order(payments: int) -> Iterator[int]:
    """The numbers of so many payments, the oldest day first: MongoDB's cache holds the end of an index by time, and not
    all of it."""
    for day in range(_DAYS, 0, -1):
        yield from range((day - 1) * pow(_STRIDE, -1, _DAYS) % _DAYS, payments, _DAYS)


def _days_back(number: int) -> int:
    return 1 + number * _STRIDE % _DAYS


def buyers_of(payments: int) -> int:
    """How many customers each merchant has, with so many payments in all."""
    return 1 + (max(payments, 1) - 1) // len(TRADES) // _PAYMENTS_A_CUSTOMER


class Life:
    """A payment on its way. What the bank is told it decides by its own rules, at the same moment."""

    def __init__(self, payment: Payment, scenario: Scenario | None):
        self.events: list[PaymentEvent] = []
        self.authorisation: Authorisation | None = None
        self._scenario = scenario
        self.payment = payment
        self._take(rules.create(payment), payment.created_at)

    def begin(self, now: datetime) -> None:
        self._take(rules.begin(self.payment, now), now)

    def capture(self, now: datetime, amount_minor: int) -> None:
        self._take(rules.capture(self.payment, now, amount_minor), now)

    def cancel(self, now: datetime) -> None:
        self._take(rules.cancel(self.payment, now), now)

    def expire(self, now: datetime) -> None:
        self._take(rules.expire(self.payment, now), now)

    def refund(self, now: datetime, amount_minor: int | None, reason: str) -> None:
        refund_id = ids.derived_at("re", now, self.payment.id, str(len(self.payment.refunds)))
        self._take(rules.request_refund(self.payment, now, refund_id, amount_minor, reason), now)

    def _take(self, change: Change, now: datetime) -> None:
        self.payment = change.payment
        self.events += change.events
        for intent in self.payment.sendable:
            operation = self._operation(intent.operation_id, intent.kind, intent.amount_minor)
            if intent.kind is OperationKind.AUTHORISE:
                self.authorisation = bank.authorise(operation, self._scenario, None, now)
            else:
                self.authorisation = bank.follow(self.authorisation, operation, now)
            answer = bank.answer_of(self.authorisation, operation.id, now)
            self._take(answered(self.payment, intent, answer, now), now)

    def _operation(self, operation_id: str, kind: OperationKind, amount_minor: int) -> Operation:
        return Operation(
            id=operation_id,
            kind=kind,
            authorisation_id=self.payment.authorisation_id,
            merchant_id=self.payment.owner_id,
            amount_minor=amount_minor,
            currency=self.payment.currency,
            capture=kind is OperationKind.AUTHORISE and self.payment.capture is CaptureMethod.AUTOMATIC,
        )


def live(seed: int, number: int, merchant: Merchant, until: datetime, vault: CardVault) -> Life:
    """A payment of this merchant with all that has happened to it until then."""
    chance = Random(f"{seed}:{number}")  # noqa: S311 - made-up data
    ending = _chosen(chance, _ENDINGS)
    pan = None if chance.random() < _NO_CARD else _chosen(chance, _CARDS)
    scenario = scenario_of(pan) if pan is not None else None
    manual = ending in ("captured", "voided", "expired")
    payment = _new_payment(chance, seed, number, merchant, until, manual=manual)
    if pan is not None and scenario is not None:
        card = CardDetails(pan, scenario.brand, chance.randint(1, 12), until.year + 3, payment.customer_name)
        payment = replace(payment, card=vault.seal(payment.owner_id, card, payment.id))
    one = Life(payment, scenario)
    one.begin(payment.created_at + timedelta(seconds=1))
    _end(chance, one, ending, until)
    return one


def _new_payment(
    chance: Random, seed: int, number: int, merchant: Merchant, until: datetime, *, manual: bool
) -> Payment:
    trade = merchant.trade
    # Most business is by day, and all of it some minutes before the end.
    hour = timedelta(hours=min(23.9, max(0.0, chance.gauss(15, 4))))
    created_at = until - timedelta(days=_days_back(number)) + hour
    created_at = min(created_at, until - timedelta(minutes=chance.uniform(5, 600)))
    created_at = created_at.replace(microsecond=created_at.microsecond // 1000 * 1000)
    currency = trade.currencies[0] if chance.random() < 0.8 else chance.choice(trade.currencies)
    price = trade.least * (trade.most / trade.least) ** chance.random() * _SIZES.get(currency, 1)
    customer = buyer(seed, merchant, chance.randrange(buyers_of(number + 1)))
    order = f"{created_at:%y%m%d}-{number // _DAYS + 1}"
    return Payment(
        id=ids.derived_at("txn", created_at, merchant.account_id, "seed", str(number)),
        owner_id=merchant.account_id,
        customer_name=customer.name,
        amount_minor=max(1, round(price * 10 ** EXPONENTS[currency])),
        currency=currency,
        status=Status.PENDING,
        created_at=created_at,
        updated_at=created_at,
        acts_at=created_at + timedelta(seconds=1),
        details=chance.choice(trade.what),
        reference=f"order-{order}",
        metadata={"orderId": f"A-{order}"},
        customer_id=customer.id,
        capture=CaptureMethod.MANUAL if manual else CaptureMethod.AUTOMATIC,
    )


def _end(chance: Random, one: Life, ending: str, until: datetime) -> None:
    """What its merchant does with it, as far as there was time."""
    later = _moment_after(chance, one.payment.updated_at, until)
    if one.payment.status is Status.AUTHORIZED:
        expires_at = one.payment.acts_at
        assert expires_at is not None
        if ending == "voided":
            one.cancel(later)
        elif ending == "captured":
            share = chance.choice((1.0, 1.0, 0.6))
            one.capture(min(later, expires_at - timedelta(hours=1)), max(1, int(one.payment.amount_minor * share)))
        elif expires_at < until:
            one.expire(expires_at)
    elif one.payment.status is Status.COMPLETED and ending == "refunded":
        one.refund(later, None, "Sent back")
    elif one.payment.status is Status.COMPLETED and ending == "partly refunded" and one.payment.amount_minor > 1:
        one.refund(later, max(1, one.payment.amount_minor // chance.randint(2, 5)), "One of them was damaged")


def _moment_after(chance: Random, start: datetime, until: datetime) -> datetime:
    """Within a week, and before the end."""
    most = min(timedelta(days=7), until - start)
    return start + most * chance.uniform(0.05, 0.95)


def _chosen(chance: Random, shares: Mapping[str, int]) -> str:
    return chance.choices(list(shares), weights=list(shares.values()))[0]
