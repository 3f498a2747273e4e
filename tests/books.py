"""What must hold of an account's money whatever was done to it: DESIGN's I2, I3, I5 and I6, read from the database."""

import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from pymongo.database import Database

from core import ids
from domain.payments import MOVES, Status

Documents = Database[dict[str, Any]]
Row = dict[str, Any]

IDLE_S = 90
SOON = timedelta(minutes=1)
"""What is due within it is waited for; an authorisation that expires in a week is not."""

TAKEN = ("payment.completed",)
HELD = ("payment.authorized", *TAKEN)
RELEASED = ("payment.cancelled", "payment.expired")


def wait_until_idle(database: Documents, owner_id: str | None = None, *, published: bool = True) -> None:
    """Until workers have nothing to do for an account, or for any: no payment is due, and no event waits."""
    of: Row = {} if owner_id is None else {"owner_id": owner_id}
    deadline = time.monotonic() + IDLE_S
    while True:
        due = database["payments"].find_one({**of, "due_at": {"$lte": datetime.now(UTC) + SOON}})
        waits = database["payments"].find_one({**of, "outbox.0": {"$exists": True}}) if published else None
        if due is None and waits is None:
            return
        assert time.monotonic() < deadline, f"still at work after {IDLE_S} s: {due or waits}"
        time.sleep(0.01)


class Books:
    """One account's payments and events beside what the bank has of it, in an idle moment."""

    def __init__(self, database: Documents, owner_id: str, bank: Documents | None = None):
        self.owner_id = owner_id
        self.payments: list[Row] = list(database["payments"].find({"owner_id": owner_id}))
        authorisations = (database if bank is None else bank)["bank_authorisations"]
        self.authorisations: dict[str, Row] = {
            row["_id"]: row for row in authorisations.find({"merchant_id": owner_id})
        }
        self.streams: dict[str, list[Row]] = defaultdict(list)
        for row in database["events"].find({"owner_id": owner_id}).sort("sequence", 1):
            self.streams[row["stream_id"]].append(row)

    def check(self) -> None:
        """Everything below, and that each event stream belongs to a payment."""
        assert {payment["_id"] for payment in self.payments} == set(self.streams)
        for payment in self.payments:
            self.check_refunds(payment)
            self.check_events(payment)
            self.check_bank(payment)
        assert self.our_totals() == self.bank_totals()
        at_the_bank = {_authorisation_id(payment) for payment in self.payments if self._asked_bank(payment)}
        assert set(self.authorisations) == at_the_bank

    def check_refunds(self, payment: Row) -> None:
        """I2: no more was given back than was captured, and the sum is that of the refunds that succeeded."""
        assert payment["amount_captured_minor"] <= payment["amount_minor"], payment
        reserved = sum(one["amount_minor"] for one in payment.get("refunds", ()) if one["status"] != "failed")
        assert reserved <= payment["amount_captured_minor"], payment
        given_back = sum(one["amount_minor"] for one in payment.get("refunds", ()) if one["status"] == "succeeded")
        assert given_back == payment["amount_refunded_minor"], payment

    def check_events(self, payment: Row) -> None:
        """I3 and I5: numbered without gaps, one event for each change, and only moves of the table."""
        events = self.streams[payment["_id"]]
        assert [row["sequence"] for row in events] == list(range(1, payment["sequence"] + 1)), payment
        bodies = [json.loads(row["body"]) for row in events]
        types = [body["type"] for body in bodies]
        assert types == [row["type"] for row in events]

        assert types[0] == "payment.created"
        moved = [body["data"] for body in bodies if body["type"].startswith("payment.")]
        assert [body["type"] for body in bodies if body["type"].startswith("payment.")][1:] == [
            f"payment.{data['status']}" for data in moved[1:]
        ]
        statuses = [Status(data["status"]) for data in moved]
        assert statuses[0] is Status.PENDING
        assert all(after in MOVES[before] for before, after in pairwise(statuses)), statuses
        assert statuses[-1].value == payment["status"]
        for body, row in zip(bodies, events, strict=True):
            if body["type"].startswith("payment."):
                assert body["data"]["id"] == payment["_id"]
                assert body["data"]["sequence"] == row["sequence"]
                assert body["data"]["amountRefundedMinor"] <= body["data"]["amountCapturedMinor"]

        told = Counter((row["object_id"], row["type"]) for row in events if row["type"].startswith("refund."))
        expected = Counter((one["id"], "refund.created") for one in payment.get("refunds", ()))
        expected += Counter(
            (one["id"], f"refund.{one['status']}") for one in payment.get("refunds", ()) if one["status"] != "pending"
        )
        assert told == expected
        succeeded = sum(one["status"] == "succeeded" for one in payment.get("refunds", ()))
        assert sum(one in ("payment.partially_refunded", "payment.refunded") for one in types) == succeeded

    def check_bank(self, payment: Row) -> None:
        """I6, operation by operation: the bank has carried out each of ours once, and nothing else."""
        authorisation = self.authorisations.get(_authorisation_id(payment))
        assert (authorisation is not None) == self._asked_bank(payment), payment
        if authorisation is None:
            return
        held = self._any_event(payment, HELD)
        assert ("decline" not in authorisation) == held, (payment, authorisation)
        if held:
            assert (authorisation["amount_minor"], authorisation["currency"]) == (
                payment["amount_minor"],
                payment["currency"],
            )
        assert authorisation.get("captured_minor", 0) == payment["amount_captured_minor"]

        expected = Counter(
            (ids.derived("op", one["id"]), "refund", one["amount_minor"], one["status"] == "failed")
            for one in payment.get("refunds", ())
        )
        if payment["capture"] == "manual" and self._any_event(payment, TAKEN):
            expected[
                ids.derived("op", payment["_id"], "capture"), "capture", payment["amount_captured_minor"], False
            ] += 1
        if held and self._any_event(payment, RELEASED):
            expected[ids.derived("op", payment["_id"], "void"), "void", payment["amount_minor"], False] += 1
        done = Counter(
            (one["id"], one["kind"], one["amount_minor"], "decline" in one)
            for one in authorisation.get("follow_ups", ())
        )
        assert done == expected, (payment, authorisation)

    def our_totals(self) -> dict[str, Counter[str]]:
        """By currency: what we believe was authorised, captured, voided and refunded."""
        totals: dict[str, Counter[str]] = defaultdict(Counter)
        for payment in self.payments:
            held = payment["amount_minor"] if self._any_event(payment, HELD) else 0
            totals[payment["currency"]].update(
                authorised=held,
                captured=payment["amount_captured_minor"],
                voided=held if self._any_event(payment, RELEASED) else 0,
                refunded=payment["amount_refunded_minor"],
            )
        return _without_zeros(totals)

    def bank_totals(self) -> dict[str, Counter[str]]:
        """By currency: what the bank's books say."""
        totals: dict[str, Counter[str]] = defaultdict(Counter)
        now = datetime.now(UTC)
        for row in self.authorisations.values():
            if "decline" in row or row["decided_at"] > now:
                continue
            totals[row["currency"]].update(
                authorised=row["amount_minor"],
                captured=row.get("captured_minor", 0),
                voided=row["amount_minor"] if row.get("voided") else 0,
                refunded=sum(
                    one["amount_minor"]
                    for one in row.get("follow_ups", ())
                    if one["kind"] == "refund" and "decline" not in one and one["decided_at"] <= now
                ),
            )
        return _without_zeros(totals)

    def _asked_bank(self, payment: Row) -> bool:
        return self._any_event(payment, ("payment.processing",))

    def _any_event(self, payment: Row, types: Iterable[str]) -> bool:
        return any(row["type"] in types for row in self.streams[payment["_id"]])


def _authorisation_id(payment: Row) -> str:
    return ids.derived("op", payment["_id"], "authorise")


def _without_zeros(totals: Mapping[str, Counter[str]]) -> dict[str, Counter[str]]:
    """A currency in which nothing moved is in nobody's books."""
    return {currency: +counts for currency, counts in totals.items() if +counts}
