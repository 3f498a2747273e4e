"""Random commands, legal and illegal, over HTTP: each answers as a plain model says, and the books agree at the end."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import httpx
import pymongo
import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from domain.payments import Command, Status
from tests.books import Books, Documents, wait_until_idle
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD, serving
from tests.factories import Account, Psp, card
from tests.scale import SEED, scaled
from tests.system.money_model import BY_ID, SLOW, PaymentModel, RefundModel, major

T = TypeVar("T")
pytestmark = pytest.mark.scaled
RUNS, STEPS = scaled((6, 30), (200, 30))
DATABASE = "money_machine"
WORKERS_FIELDS = ("outbox", "intents", "due_at", "version", "written_by", "lease_token", "lease_until")
REUSED = (422, {"idempotency_key_reused"})
WRONG = {"too exact": -1, "zero": -2}
CHARGES = st.builds(
    lambda *fields: Charge(*fields),
    st.sampled_from(
        [
            None,
            "success_visa",
            "success_amex",
            "disputed",
            "generic_decline",
            "incorrect_cvc",
            "balance_500",
            "fraud_from_125",
            "three_d_secure_required",
            "three_d_secure_declined",
            "bank_timeout",
            "bank_unavailable_once",
            *sorted(SLOW),
        ]
    ),
    st.integers(1, 60_000),
    st.sampled_from(["USD", "USD", "JPY", "KWD"]),
    st.booleans(),
    st.sampled_from([False, False, True]),
    st.booleans(),
)
SHARES = st.sampled_from(["default", "all", "part", "part", "one", "too much", "too exact", "zero"])
# What is drawn must not depend on how far the workers are, so a number is drawn, and stands for one of those there are.
PICKS = st.integers(0, 5)
APT = st.sampled_from([True, True, False])
"""Whether to choose among the payments that may accept the command."""


@dataclass(frozen=True)
class Charge:
    card_id: str | None
    amount_minor: int
    currency: str
    manual: bool
    by_token: bool
    keyed: bool


@dataclass(frozen=True)
class Done:
    """A command that was carried out under an idempotency key."""

    path: str
    body: dict[str, Any] | None
    key: str
    answer: httpx.Response


def latest(found: list[T], pick: int) -> T | None:
    """One of the last six; None where there are none."""
    return found[-1 - pick % len(found)] if found else None


@dataclass(frozen=True)
class World:
    """What all runs share. (hypothesis calls whatever it finds in a machine, so a database has no place there.)"""

    psp: Psp
    database: Documents
    stranger: Account


class MoneyMachine(RuleBasedStateMachine):
    world: ClassVar[World]
    runs: ClassVar[int] = 0
    steps: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.account = self.world.psp.register("merchant")
        self.payments: list[PaymentModel] = []
        self.used_tokens: list[str] = []
        self.done: list[Done] = []
        self.keys = 0
        self.slow_cards = False

    @initialize(
        tenth=st.integers(0, 9),
        charges=st.lists(CHARGES, min_size=2, max_size=5),
        settled=st.sampled_from([True, True, False]),
    )
    def begin(self, tenth: int, charges: list[Charge], settled: bool) -> None:
        """A few payments to work with, most often at rest. One run in ten waits for slow banks."""
        MoneyMachine.runs += 1
        self.slow_cards = tenth == 9
        for charge in charges:
            self.make(charge)
        if settled:
            self.settle()

    # Charging

    @rule(charge=CHARGES)
    def charge(self, charge: Charge) -> None:
        self.make(charge)

    def make(self, charge: Charge) -> None:
        """Send the charge, which is accepted whatever will become of it."""
        card_id, amount_minor, currency = charge.card_id, charge.amount_minor, charge.currency
        if card_id in SLOW and not self.slow_cards:
            card_id = None
        scenario = BY_ID[card_id] if card_id is not None else None
        body: dict[str, Any] = {
            "customerName": "Grace Hopper",
            "paymentAmount": major(amount_minor, currency),
            "currency": currency,
        }
        if charge.manual:
            body["capture"] = "manual"
        if card_id is not None:
            typed = card(BY_ID[card_id].pan, cvc="1234" if card_id == "success_amex" else "123")
            if not charge.by_token:
                body["card"] = typed
            else:
                made = self.post("/tokens", typed)
                assert made.status_code == 201, made.text
                body["cardToken"] = made.json()["id"]
        decline = scenario.decline_of(amount_minor, currency) if scenario is not None else None
        balance_minor = scenario.balance_minor(currency) if scenario is not None else None
        if scenario is not None and balance_minor is not None:
            self.settle()  # what is being given back counts once it is there
            if self.on_the_balance_card(currency) + amount_minor > balance_minor:
                decline = scenario.decline

        answer = self.command("/payments/charge", body, charge.keyed)

        assert answer.status_code == 201, answer.text
        assert answer.json()["status"] == "pending"
        self.payments.append(
            PaymentModel(answer.json()["id"], amount_minor, currency, charge.manual, scenario, decline)
        )
        if "cardToken" in body:
            self.used_tokens.append(body["cardToken"])
        if balance_minor is not None:
            self.settle()

    def on_the_balance_card(self, currency: str) -> int:
        """What the payments that stand have taken from the card with a balance."""
        held = 0
        for one in self.payments:
            if one.scenario is None or one.scenario.id != "balance_500" or one.currency != currency:
                continue
            if one.status is Status.AUTHORIZED:
                held += one.amount_minor
            elif one.captured_minor:
                held += one.captured_minor - one.refunded_minor
        return held

    @rule(pick=PICKS)
    def charge_with_a_used_token(self, pick: int) -> None:
        token = latest(self.used_tokens, pick)
        if token is None:
            return
        body = {"customerName": "Grace", "paymentAmount": 5, "currency": "USD", "cardToken": token}
        self.refused(self.post("/payments/charge", body), 409, {"card_token_used"})

    @rule(
        wrong=st.sampled_from(
            [
                {"paymentAmount": 0},
                {"paymentAmount": -1},
                {"paymentAmount": 1.001},
                {"currency": "XXX"},
                {"card": card("4242424242424241")},
                {"cardToken": "tok_none"},
                {"unknown": 1},
                {"capture": "later"},
            ]
        )
    )
    def charge_wrongly(self, wrong: dict[str, Any]) -> None:
        body = {"customerName": "Grace", "paymentAmount": 5, "currency": "USD", **wrong}
        expected = (404, {"not_found"}) if "cardToken" in wrong else (422, {"validation_error"})
        self.refused(self.post("/payments/charge", body), *expected)

    # Commands on a payment

    def some_payment(self, pick: int, apt_for: Command | None = None) -> PaymentModel:
        """One of the latest payments, or of those that may accept a command, where there are any."""
        apt = [one for one in self.payments if apt_for and True in one.may_accept(apt_for) and not one.deleted]
        found = latest(apt or self.payments, pick)
        assert found is not None
        return found

    @rule(pick=PICKS, apt=APT, succeeds=st.sampled_from([True, True, True, False]), keyed=st.booleans())
    def authenticate(self, pick: int, apt: bool, succeeds: bool, keyed: bool) -> None:
        payment = self.some_payment(pick, Command.AUTHENTICATE if apt else None)
        body = {"result": "succeeded" if succeeds else "failed"}
        if self.moved(payment, Command.AUTHENTICATE, f"/payments/{payment.id}/authenticate", body, keyed):
            payment.authenticated = True
            payment.status = None if succeeds else Status.FAILED
            payment.failure_code = None if succeeds else "authentication_failed"

    @rule(pick=PICKS, apt=APT, keyed=st.booleans())
    def cancel(self, pick: int, apt: bool, keyed: bool) -> None:
        payment = self.some_payment(pick, Command.CANCEL if apt else None)
        if self.moved(payment, Command.CANCEL, f"/payments/{payment.id}/cancel", None, keyed):
            payment.status = Status.CANCELLED

    @rule(pick=PICKS, apt=APT, share=SHARES, keyed=st.booleans())
    def capture(self, pick: int, apt: bool, share: str, keyed: bool) -> None:
        payment = self.some_payment(pick, Command.CAPTURE if apt else None)
        amount_minor, body = self.share(payment, payment.amount_minor, share)
        if self.moved(payment, Command.CAPTURE, f"/payments/{payment.id}/capture", body, keyed, amount_minor):
            payment.status, payment.captured_minor = Status.COMPLETED, amount_minor

    @rule(pick=PICKS, apt=APT, share=SHARES, keyed=st.booleans())
    def refund(self, pick: int, apt: bool, share: str, keyed: bool) -> None:
        payment = self.some_payment(pick, Command.REFUND if apt else None)
        amount_minor, body = self.share(payment, payment.refundable_minor or payment.amount_minor, share)
        body = {"paymentId": payment.id, **(body or {})}
        answer = self.moved(payment, Command.REFUND, "/refunds", body, keyed, amount_minor)
        if answer is None:
            return
        if payment.status is None:  # it has arrived, or this would have been refused
            payment.arrive()
        if "amount" not in body:
            amount_minor = answer.json()["amountMinor"]
            assert 0 < amount_minor <= payment.largest_refund_minor
        payment.refunds.append(RefundModel(answer.json()["id"], amount_minor))

    def share(self, payment: PaymentModel, of_minor: int, share: str) -> tuple[int, dict[str, Any] | None]:
        """An amount to capture or to give back, and the body that asks for it."""
        if share == "default":
            return of_minor, None
        if share in WRONG:
            return WRONG[share], {"amount": 0.0001 if share == "too exact" else 0}
        amount_minor = {"all": of_minor, "part": (of_minor + 1) // 2, "one": 1, "too much": of_minor + 1}[share]
        return amount_minor, {"amount": major(amount_minor, payment.currency)}

    def moved(
        self,
        payment: PaymentModel,
        command: Command,
        path: str,
        body: dict[str, Any] | None,
        keyed: bool,
        amount_minor: int = 0,
    ) -> httpx.Response | None:
        """The answer to a command that was carried out; None where it was rightly refused, which changed nothing."""
        before = self.stored(payment)
        limit_minor = payment.largest_refund_minor if command is Command.REFUND else payment.amount_minor
        answer = self.command(path, body, keyed)
        if answer.status_code in (200, 201):
            assert not payment.deleted, answer.text
            assert True in payment.may_accept(command), (payment, answer.text)
            assert 0 <= amount_minor <= limit_minor or body == {"paymentId": payment.id}, (payment, answer.text)
            return answer
        self.refused(answer, *self.refusal(payment, command, amount_minor))
        if payment.sure:
            assert self.stored(payment) == before
        return None

    def refusal(self, payment: PaymentModel, command: Command, amount_minor: int) -> tuple[int, set[str]]:
        """The status and the codes with which this command may be refused. No codes: it must not be."""
        if amount_minor == WRONG["zero"]:
            return 422, {"validation_error"}
        if payment.deleted:
            return 404, {"not_found"}
        if amount_minor == WRONG["too exact"]:  # which depends on the payment's currency
            return 422, {"validation_error"}
        accepted = payment.may_accept(command)
        codes = {"invalid_state"} if False in accepted else set()
        limit_minor = payment.amount_minor
        if command is Command.REFUND and payment.status is not None:
            limit_minor = payment.refundable_minor
        if True in accepted and (amount_minor > limit_minor or limit_minor == 0):
            codes.add("amount_exceeded")
        return 409, codes

    @rule(pick=PICKS, details=st.sampled_from([None, "", "$ownerId", "Row 7"]))
    def amend(self, pick: int, details: str | None) -> None:
        payment = self.some_payment(pick)
        answer = self.world.psp.patch(f"/payments/{payment.id}", json={"details": details}, headers=self.account.key)
        if payment.deleted:
            self.refused(answer, 404, {"not_found"})
            return
        assert (answer.status_code, answer.json()["details"]) == (200, details)
        payment.amended = True

    @rule(pick=PICKS, sure=st.integers(0, 2))
    def delete(self, pick: int, sure: int) -> None:
        """One time in three, since there is little to do with what is deleted."""
        payment = self.some_payment(pick)
        if sure:
            return
        answer = self.world.psp.delete(f"/transactions/{payment.id}", headers=self.account.bearer)
        if payment.deleted:
            self.refused(answer, 404, {"not_found"})
            return
        assert answer.status_code == 200, answer.text
        payment.deleted = True
        if payment.status in (Status.REQUIRES_ACTION, Status.AUTHORIZED):
            payment.status = Status.CANCELLED
        elif payment.status is None:  # cancelled, or on its way to an end; where it was tells
            row = self.stored(payment)
            if row["status"] == "cancelled":
                payment.status = Status.CANCELLED

    @rule(pick=PICKS, path=st.sampled_from(["capture", "cancel", "authenticate", "refunds", "delete", "get"]))
    def interfere(self, pick: int, path: str) -> None:
        """Another account cannot see it, let alone change it."""
        payment = self.some_payment(pick)
        url, before = f"/payments/{payment.id}", self.stored(payment)
        if path == "refunds":
            answer = self.world.psp.post("/refunds", json={"paymentId": payment.id}, headers=self.world.stranger.key)
        elif path == "delete":
            answer = self.world.psp.delete(url, headers=self.world.stranger.bearer)
        elif path == "get":
            answer = self.world.psp.get(url, headers=self.world.stranger.key)
        else:
            answer = self.world.psp.post(f"{url}/{path}", headers=self.world.stranger.key)
        if path == "delete" and not payment.deleted:
            self.refused(answer, 403, {"forbidden"})
        else:
            self.refused(answer, 404, {"not_found"})
        if payment.sure:
            assert self.stored(payment) == before

    # Repetitions

    @rule(pick=PICKS)
    def repeat(self, pick: int) -> None:
        """The first answer to the byte, whatever has become of the payment since."""
        done = latest(self.done, pick)
        if done is not None:
            again = self.post(done.path, done.body, done.key)
            assert (again.status_code, again.content) == (done.answer.status_code, done.answer.content)
            assert again.headers["Idempotent-Replayed"] == "true"

    @rule(pick=PICKS)
    def repeat_a_charge_with_another_amount(self, pick: int) -> None:
        done = latest([done for done in self.done if done.path == "/payments/charge"], pick)
        if done is not None:
            self.refused(self.post(done.path, {**(done.body or {}), "paymentAmount": 60_001}, done.key), *REUSED)

    @rule(pick=PICKS, pick_payment=PICKS)
    def repeat_a_refund_on_another_payment(self, pick: int, pick_payment: int) -> None:
        done = latest([done for done in self.done if done.path == "/refunds"], pick)
        other = self.some_payment(pick_payment)
        if done is not None and done.body is not None and other.id != done.body["paymentId"]:
            self.refused(self.post(done.path, {**done.body, "paymentId": other.id}, done.key), *REUSED)

    # Waiting

    @rule()
    def wait(self) -> None:
        self.settle()

    def settle(self) -> None:
        """Let the workers finish, and find each payment where the model expects it."""
        wait_until_idle(self.world.database, published=False)
        for payment in self.payments:
            if payment.sure:
                continue
            payment.arrive()
            if not payment.deleted:
                payment.agrees(self.shown(payment))

    def teardown(self) -> None:
        self.settle()
        wait_until_idle(self.world.database)
        books = Books(self.world.database, self.account.id)
        books.check()
        assert {row["_id"] for row in books.payments} == {payment.id for payment in self.payments}
        for row in books.payments:
            payment = next(one for one in self.payments if one.id == row["_id"])
            assert payment.status is not None
            assert (row["status"], row["deleted"]) == (payment.status.value, payment.deleted)
            if payment.deleted:
                continue
            shown = self.shown(payment)
            payment.agrees(shown)
            self.check_last_event(payment, shown, json.loads(books.streams[payment.id][-1]["body"]))

    def check_last_event(self, payment: PaymentModel, shown: dict[str, Any], event: dict[str, Any]) -> None:
        """The last event shows its object as the API still does."""
        told = event["data"]
        if event["type"].startswith("refund."):
            shown = self.world.psp.get(f"/refunds/{told['id']}", headers=self.account.key).json()
        elif payment.amended:
            told = {**told, "details": shown["details"], "updatedAt": shown["updatedAt"]}
        assert told == shown

    @invariant()
    def count(self) -> None:
        MoneyMachine.steps += 1

    # What the rules share

    def command(self, path: str, body: dict[str, Any] | None, keyed: bool) -> httpx.Response:
        self.keys += keyed
        key = f"key-{self.keys}" if keyed else None
        answer = self.post(path, body, key)
        if key is not None and answer.status_code in (200, 201):
            assert "Idempotent-Replayed" not in answer.headers
            self.done.append(Done(path, body, key, answer))
        return answer

    def post(self, path: str, body: dict[str, Any] | None, key: str | None = None) -> httpx.Response:
        headers = self.account.key if key is None else {**self.account.key, "Idempotency-Key": key}
        return self.world.psp.post(path, json=body, headers=headers)

    def refused(self, answer: httpx.Response, status: int, codes: set[str]) -> None:
        assert answer.status_code == status, (answer.text, status, codes)
        assert answer.json()["code"] in codes, (answer.text, codes)

    def shown(self, payment: PaymentModel) -> dict[str, Any]:
        answer = self.world.psp.get(f"/payments/{payment.id}", headers=self.account.key)
        assert answer.status_code == 200, answer.text
        shown: dict[str, Any] = answer.json()
        return shown

    def stored(self, payment: PaymentModel) -> dict[str, Any]:
        """The payment as it is kept, without what workers note in it."""
        row = self.world.database["payments"].find_one({"_id": payment.id}, dict.fromkeys(WORKERS_FIELDS, 0))
        assert row is not None
        return row


@pytest.fixture
def machine(
    mongo_uri: str, data_dir: Path, tmp_path: Path, mongo: pymongo.MongoClient[dict[str, Any]]
) -> Iterator[type[MoneyMachine]]:
    options = {"DATA_DIR": str(data_dir), "MONGODB_DB": DATABASE, "PROCESSING_DELAY_SECONDS": "0"}
    with (
        serving(tmp_path / "server.log", **options) as server,
        httpx.Client(base_url=server.url, timeout=35, verify=False) as client,
    ):
        psp = Psp(client, ADMIN_EMAIL, ADMIN_PASSWORD)
        MoneyMachine.world = World(psp, mongo[DATABASE], psp.register("merchant"))
        yield MoneyMachine
    mongo.drop_database(DATABASE)


def test_whatever_is_asked_the_model_the_events_and_the_bank_agree(
    machine: type[MoneyMachine], record_property: Callable[[str, object], None]
) -> None:
    profile = settings(
        max_examples=RUNS,
        stateful_step_count=STEPS + 1,  # the beginning counts as one
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    run_state_machine_as_test(seed(SEED)(machine), settings=profile, _min_steps=STEPS + 1)
    steps = MoneyMachine.steps - MoneyMachine.runs  # the beginning is none
    assert MoneyMachine.runs >= RUNS
    record_property("proof", f"money machine: {MoneyMachine.runs} runs, {steps} steps")
