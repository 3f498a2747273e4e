"""What must hold when everything is quiet again, whoever was killed meanwhile: DESIGN's I3, I4 and I5."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from typing import Any

from domain.payments import AWAITS_WORKER
from tests.books import Books, Documents
from tests.chaos.receivers import Arrival, Fate, Receivers

Row = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """Where an account's events go, or a payment's own URL."""

    name: str
    url: str
    endpoint_id: str | None = None
    wants: Callable[[str], bool] = lambda event_type: True
    ordered: bool = False
    """It asked for each object's events in their order."""


@dataclass(frozen=True)
class Figures:
    events: int
    deliveries: int
    dead: int
    unrecorded: int
    """Arrivals more than attempts that were written down: for each the sender was killed, or had lost its MongoDB."""
    repeats: int
    """Arrivals that came after a 200 was written whole, and that nothing but a kill explains."""
    late: int
    """Arrivals after a 200 that was written whole to a sender which had given up waiting, and has recorded that."""


class Judge:
    def __init__(
        self, database: Documents, receivers: Receivers, subscribed: dict[str, list[Target]], own: Sequence[Target]
    ):
        """`subscribed` is by account; `own` are those that payments name."""
        self._database = database
        self._receivers = receivers
        self._subscribed = subscribed
        self._by_url = {target.url: target for target in own}
        self._names = {
            target.endpoint_id or target.url: target.name
            for target in (*own, *(one for targets in subscribed.values() for one in targets))
        }

    def nothing_waits(self) -> None:
        """Nothing is pending, leased, or in an outbox."""
        for collection in ("payments", "customers", "webhook_endpoints"):
            assert self._database[collection].find_one({"outbox.0": {"$exists": True}}) is None
        for collection in ("payments", "deliveries", "incoming_webhooks"):
            assert self._database[collection].find_one({"lease_token": {"$exists": True}}) is None
        assert self._database["payments"].find_one({"status": {"$in": [one.value for one in AWAITS_WORKER]}}) is None
        assert self._database["deliveries"].find_one({"state": "pending"}) is None

    def every_charge_is_there(self, acknowledged: dict[int, str]) -> None:
        """Each key made one payment, the one that it was acknowledged with; and none was made by anything else."""
        assert len(set(acknowledged.values())) == len(acknowledged)
        assert {row["_id"] for row in self._database["payments"].find({}, {"_id": 1})} == set(acknowledged.values())

    def events_are_the_changes(self, owner_id: str) -> None:
        """Numbered without gaps, each a move of the state table, the last the payment's state; and the bank agrees."""
        Books(self._database, owner_id).check()

    def everything_was_delivered(self, attempts_at_most: int) -> Figures:
        """One delivery for each event and target that wants it, each delivered or dead, as the receivers saw it."""
        events: dict[str, Row] = {row["_id"]: row for row in self._database["events"].find()}
        deliveries: dict[tuple[str, str], Row] = {}
        for row in self._database["deliveries"].find():
            key = self._names[row.get("endpoint_id") or row["url"]], row["event_id"]
            assert key not in deliveries, "two deliveries of one event to one target"
            deliveries[key] = row
        assert deliveries.keys() == self._wanted(events.values())

        arrivals = self._receivers.arrivals
        assert arrivals.keys() <= deliveries.keys(), "something was sent that nobody is subscribed to"
        assert not self._receivers.changed, "other bytes under the same webhook-id"
        for webhook_id, body in self._receivers.bodies.items():
            assert body == sha256(events[webhook_id]["body"]).digest()

        unrecorded = repeats = late = 0
        for key, row in deliveries.items():
            seen = arrivals.get(key, [])
            _check_delivery(row, seen, attempts_at_most)
            unrecorded += max(len(seen) - len(row["attempts"]), 0)
            these_repeats, these_late = _after_success(row, seen)
            repeats, late = repeats + these_repeats, late + these_late
        for targets in self._subscribed.values():
            for target in targets:
                if target.ordered:
                    self._check_order(target.name, events, deliveries)
        dead = sum(row["state"] == "dead" for row in deliveries.values())
        return Figures(len(events), len(deliveries), dead, unrecorded, repeats, late)

    def _check_order(self, target: str, events: dict[str, Row], deliveries: dict[tuple[str, str], Row]) -> None:
        """No event was sent while the one before it, of the same object, was neither received nor given up."""
        streams: dict[str, list[Row]] = defaultdict(list)
        for (name, event_id), row in deliveries.items():
            if name == target:
                streams[events[event_id]["stream_id"]].append(row)
        for rows in streams.values():
            rows.sort(key=lambda row: int(events[row["event_id"]]["sequence"]))
            for earlier, later in pairwise(rows):
                before = self._receivers.arrivals[target, earlier["event_id"]]
                done = next((one for one in before if one.whole), before[0])
                assert done.number < self._receivers.arrivals[target, later["event_id"]][0].number, (earlier, later)

    def _wanted(self, events: Any) -> set[tuple[str, str]]:
        own_urls = {
            row["_id"]: row["webhook_url"]
            for row in self._database["payments"].find({"webhook_url": {"$exists": True}}, {"webhook_url": 1})
            if row["webhook_url"]
        }
        wanted = set()
        for event in events:
            targets = [one for one in self._subscribed[event["owner_id"]] if one.wants(event["type"])]
            if event["stream_id"] in own_urls:
                targets.append(self._by_url[own_urls[event["stream_id"]]])
            wanted.update((target.name, event["_id"]) for target in targets)
        return wanted


def _check_delivery(row: Row, seen: Sequence[Arrival], attempts_at_most: int) -> None:
    """The state is what was recorded, and what was recorded is what the receiver saw, as far as it was recorded."""
    recorded = [attempt["status"] for attempt in row["attempts"]]
    succeeded = [status is not None and 200 <= status < 300 for status in recorded]
    assert row["failures"] == succeeded.count(False), row
    if row["state"] == "delivered":
        assert succeeded[-1] and not any(succeeded[:-1]), row
        assert any(one.whole for one in seen), (row, seen)
    else:
        assert row["state"] == "dead" and not any(succeeded), row
        assert (len(recorded), row["dead_reason"]) == (attempts_at_most, "attempts_exhausted"), row
    for status, fate in ((200, Fate.OK), (500, Fate.ERROR)):
        assert recorded.count(status) <= sum(one.fate is fate for one in seen), (row, seen)


def _after_success(row: Row, seen: Sequence[Arrival]) -> tuple[int, int]:
    """What arrived after the first 200 that was written whole: how much of it a kill must explain, and how much the
    sender explains itself, having recorded for each such 200 either that it came or that none came in time."""
    whole = [number for number, one in enumerate(seen) if one.whole]
    if not whole:
        return 0, 0
    after = len(seen) - whole[0] - 1
    recorded = sum(attempt["status"] == 200 for attempt in row["attempts"])
    timeouts = sum(attempt["error"] == "timeout" for attempt in row["attempts"])
    too_late = max(timeouts - sum(one.fate is Fate.HANG for one in seen), 0)
    return (0, after) if len(whole) <= recorded + too_late else (after, 0)
