"""Every collection and every index, made at start-up.

The lists of an account's payments are the reason for most of them: each filter that can be selective leads an index
that ends in a sort key, so that a page costs the same in an account of 100 and of 100,000 payments. Indexes on work
(due, outbox, pending deliveries) are partial and hold live rows only, so finished rows never slow a claim. Unique
indexes over what belongs to accounts begin with the account: MongoDB asks that of a collection sharded by it.
"""

import asyncio
from collections.abc import Mapping

from core.database import ASCENDING, Database, Document, IndexModel
from repositories import signals
from repositories.places import place_index
from repositories.resend_jobs import RUNNING
from repositories.webhook_endpoints import LIVE

_CREATED = (("created_at", ASCENDING), ("_id", ASCENDING))
_OF_REQUESTS = ("status", "method", "route")
_AMOUNT = (("amount_comparable", ASCENDING), ("_id", ASCENDING))
_HAPPENED = (("at", ASCENDING), ("_id", ASCENDING))
_DONE = (("action", ASCENDING), ("outcome", ASCENDING))


def _list_index(name: str, *keys: str, sort: tuple[tuple[str, int], ...]) -> IndexModel:
    # `deleted` is a key and no partial filter: a filter would make every count fetch the rows to check it again.
    return IndexModel([*((key, ASCENDING) for key in ("deleted", *keys)), *sort], name=name)


INDEXES: dict[str, list[IndexModel]] = {
    "users": [
        IndexModel("email_folded", name="email", unique=True, partialFilterExpression={"deleted": False}),
        IndexModel("api_keys.id", name="api_key", unique=True, sparse=True),
        _list_index("by_time", sort=_CREATED),
        _list_index("by_role", "role", sort=_CREATED),
    ],
    "sessions": [
        IndexModel(
            [*((key, ASCENDING) for key in ("owner_id", "ended", "credentials_version")), *_CREATED],
            name="living",
        ),
        # Ended and expired sessions go by themselves once their refresh token is of no use.
        IndexModel("expires_at", name="expiry", expireAfterSeconds=0),
    ],
    "login_attempts": [IndexModel("expires_at", name="expiry", expireAfterSeconds=0)],
    "rate_limits": [IndexModel("expireAt", name="expiry", expireAfterSeconds=0)],
    "payments": [
        # The other sort key stands at the end, so that a range over it is judged in the index: see `_rival_indexes`.
        _list_index("by_time", "owner_id", sort=(*_CREATED, _AMOUNT[0])),
        _list_index("by_amount", "owner_id", sort=(*_AMOUNT, _CREATED[0])),
        _list_index("status_by_time", "owner_id", "status", sort=_CREATED),
        _list_index("status_by_amount", "owner_id", "status", sort=_AMOUNT),
        _list_index("currency_by_time", "owner_id", "currency", sort=_CREATED),
        _list_index("currency_by_amount", "owner_id", "currency", sort=_AMOUNT),
        _list_index("customer_by_time", "owner_id", "customer_name_folded", sort=_CREATED),
        _list_index("customer_by_amount", "owner_id", "customer_name_folded", sort=_AMOUNT),
        _list_index("reference_by_time", "owner_id", "reference", sort=_CREATED),
        _list_index("reference_by_amount", "owner_id", "reference", sort=_AMOUNT),
        _list_index("of_customer_by_time", "owner_id", "customer_id", sort=_CREATED),
        _list_index("all_by_time", sort=_CREATED),
        _list_index("all_by_amount", sort=_AMOUNT),
        IndexModel("due_at", name="due", partialFilterExpression={"due_at": {"$exists": True}}),
        IndexModel("created_at", name="outbox", partialFilterExpression={"outbox.0": {"$exists": True}}),
        # One idempotency key is one command, whichever payment it was sent to.
        IndexModel(
            [("owner_id", ASCENDING), ("claims.id", ASCENDING)],
            name="claims",
            unique=True,
            partialFilterExpression={"claims.0": {"$exists": True}},
        ),
        IndexModel(
            [("owner_id", ASCENDING), ("refunds.id", ASCENDING)],
            name="refunds",
            unique=True,
            partialFilterExpression={"refunds.0": {"$exists": True}},
        ),
        # The insert of a payment uses up its card token, and one use of its payment key.
        IndexModel(
            [("owner_id", ASCENDING), ("card_token_id", ASCENDING)],
            name="card_token",
            unique=True,
            partialFilterExpression={"card_token_id": {"$exists": True}},
        ),
        IndexModel(
            [("owner_id", ASCENDING), ("payment_key_id", ASCENDING), ("payment_key_use", ASCENDING)],
            name="payment_key",
            unique=True,
            partialFilterExpression={"payment_key_use": {"$exists": True}},
        ),
    ],
    "refunds": [
        IndexModel([("owner_id", ASCENDING), *_CREATED], name="by_time"),
        IndexModel([("owner_id", ASCENDING), ("payment_id", ASCENDING), *_CREATED], name="payment_by_time"),
        IndexModel([("owner_id", ASCENDING), ("status", ASCENDING), *_CREATED], name="status_by_time"),
    ],
    "card_tokens": [
        # A day after its end nobody asks for a token any more.
        IndexModel("expires_at", name="expiry", expireAfterSeconds=24 * 3600),
    ],
    "cards": [_list_index("by_time", "owner_id", "customer_id", sort=_CREATED)],
    "payment_keys": [IndexModel([("owner_id", ASCENDING), *_CREATED], name="by_time")],
    "customers": [
        # The name stands at the end, so that a prefix of it is judged in the index: see `_rival_indexes`.
        _list_index("by_time", "owner_id", sort=(*_CREATED, ("name_folded", ASCENDING))),
        _list_index("by_name", "owner_id", "name_folded", sort=_CREATED),
        _list_index("by_email", "owner_id", "email_folded", sort=_CREATED),
        _list_index("by_phone", "owner_id", "phone", sort=_CREATED),
        IndexModel("created_at", name="outbox", partialFilterExpression={"outbox.0": {"$exists": True}}),
    ],
    "events": [
        # Partial, because events that an older version has published name no stream; and of the same name as that
        # version's index over the object, so that it takes its place.
        IndexModel(
            [("owner_id", ASCENDING), ("stream_id", ASCENDING), ("sequence", ASCENDING)],
            name="object",
            unique=True,
            partialFilterExpression={"stream_id": {"$exists": True}},
        ),
        # For one type, for a kind of them, and for all: MongoDB reads each type's newest and merges them, so that no
        # event pays for an index more. Of the same name as an older version's index over the time alone.
        IndexModel([("owner_id", ASCENDING), ("type", ASCENDING), *_CREATED], name="owner"),
        IndexModel([("owner_id", ASCENDING), ("object_id", ASCENDING), *_CREATED], name="by_object"),
    ],
    "deliveries": [
        IndexModel(
            [("state", ASCENDING), ("target", ASCENDING), ("due_at", ASCENDING)],
            name="work",
            partialFilterExpression={"state": "pending"},
        ),
        # For endpoints that ask for order: the first of each stream.
        IndexModel(
            [("state", ASCENDING), ("target", ASCENDING), ("stream_id", ASCENDING), ("sequence", ASCENDING)],
            name="heads",
            partialFilterExpression={"state": "pending"},
        ),
        # Of the same name as an older version's index over the event alone.
        IndexModel([("event_id", ASCENDING), *_CREATED], name="event"),
        # Each index over the state costs every outcome a write: there is one for an account, and one for an endpoint.
        IndexModel([("owner_id", ASCENDING), ("state", ASCENDING), *_CREATED], name="by_owner"),
        IndexModel(
            [("owner_id", ASCENDING), ("endpoint_id", ASCENDING), ("state", ASCENDING), *_CREATED],
            name="by_endpoint",
            partialFilterExpression={"endpoint_id": {"$exists": True}},
        ),
        # Few deliveries are of a resend, so this costs the others nothing. The endpoint is judged in the index.
        IndexModel(
            [
                *((key, ASCENDING) for key in ("owner_id", "resend_id", "state")),
                *_CREATED,
                ("endpoint_id", ASCENDING),
            ],
            name="by_resend",
            partialFilterExpression={"resend_id": {"$exists": True}},
        ),
        # What waits of a resend. The state is a key so that counting reads no delivery.
        IndexModel(
            [("resend_id", ASCENDING), ("state", ASCENDING), ("target", ASCENDING)],
            name="resends",
            partialFilterExpression={"resend_id": {"$exists": True}, "state": "pending"},
        ),
    ],
    "resend_jobs": [
        IndexModel([("owner_id", ASCENDING), ("status", ASCENDING), *_CREATED], name="by_owner"),
        IndexModel("due_at", name="work", partialFilterExpression={"due_at": {"$exists": True}}),
        place_index(RUNNING),
    ],
    "webhook_endpoints": [
        _list_index("by_time", "owner_id", sort=_CREATED),
        place_index(LIVE),
        IndexModel("created_at", name="outbox", partialFilterExpression={"outbox.0": {"$exists": True}}),
    ],
    "incoming_webhooks": [
        IndexModel([("owner_id", ASCENDING), ("received_at", ASCENDING), ("_id", ASCENDING)], name="owner"),
        IndexModel(
            [("state", ASCENDING), ("received_at", ASCENDING)],
            name="work",
            partialFilterExpression={"state": "received"},
        ),
    ],
    "incoming_refusals": [],
    "request_logs": [
        # What else a list is filtered by stands at the end, so that it is judged in the index: an index for each filter
        # would cost every request a write.
        IndexModel([("owner_id", ASCENDING), *_CREATED, *((key, ASCENDING) for key in _OF_REQUESTS)], name="by_time"),
        IndexModel([("owner_id", ASCENDING), ("request_id", ASCENDING), *_CREATED], name="by_request_id"),
    ],
    "audit": [
        IndexModel(_HAPPENED, name="by_time"),
        # Each serves its own filter with any action and any outcome: see `_conditions` in repositories/audit.py.
        IndexModel([*_DONE, *_HAPPENED], name="by_action"),
        IndexModel([("account_id", ASCENDING), *_DONE, *_HAPPENED], name="by_account"),
        # The account is judged in the index.
        IndexModel([("target_id", ASCENDING), *_DONE, *_HAPPENED, ("account_id", ASCENDING)], name="by_target"),
        IndexModel([("linked", ASCENDING), *_HAPPENED], name="unlinked", partialFilterExpression={"linked": False}),
        # No two rows have the same place in the chain, whoever links them.
        IndexModel("sequence", name="chain", unique=True, partialFilterExpression={"sequence": {"$exists": True}}),
    ],
    "audit_head": [],
    "keyring": [],
    "heartbeats": [
        IndexModel("beat_at", name="newest"),
        IndexModel("expires_at", name="expiry", expireAfterSeconds=0),
    ],
    "guards": [],
}


RETENTION: Mapping[str, tuple[str, Document | None]] = {
    "events": ("created_at", None),
    # From its end on, so that every dead letter can be seen. What waits is never forgotten; it becomes a dead letter
    # where its event is gone by then.
    "deliveries": ("updated_at", {"state": {"$in": ["delivered", "dead"]}}),
    "incoming_webhooks": ("received_at", None),
    "resend_jobs": ("ended_at", None),
}
"""What is kept for a while only, where the settings say so: by which time, and what of it (None: all)."""


REQUEST_LOG_DAYS = 7
"""At most, however long the rest is kept: it grows with every request, those that change nothing as well."""


async def keep_for(database: Database, days: int | None) -> None:
    """Have MongoDB forget what is older than so many days; with None nothing but the request log. Safe in several
    processes at once."""
    for name, (field, only) in RETENTION.items():
        after_s = None if days is None else days * 24 * 3600
        await database.ensure_expiry(name, field, after_s, name="retention", only=only)
    request_log_days = min(days or REQUEST_LOG_DAYS, REQUEST_LOG_DAYS)
    await database.ensure_expiry("request_logs", "created_at", request_log_days * 24 * 3600, name="retention")


async def create_indexes(database: Database) -> None:
    """Make what is missing. Safe to run in several processes at once, and on every start."""
    for name, indexes in INDEXES.items():
        if indexes:
            await database.ensure_indexes(name, indexes)
    existing = set(await database.collection_names())
    for name in INDEXES.keys() - existing:
        # Made by a write that leaves nothing: an explicit create fails in the second of two processes.
        await database[name].delete_one({"_id": "none"})
    await database.ensure_capped(signals.COLLECTION, signals.SIZE_BYTES)


async def missing_indexes(database: Database) -> list[str]:
    """Those that are not there, as `collection.index`. A question for each collection.

    By name: one that a newer version defines otherwise takes this one's place as soon as that version starts, and the
    processes of this one go on beside it until they are stopped.
    """
    existing = await asyncio.gather(*(database.index_names(name) for name in INDEXES))
    return [
        f"{name}.{index.document['name']}"
        for (name, indexes), names in zip(INDEXES.items(), existing, strict=True)
        for index in indexes
        if index.document["name"] not in names
    ]
