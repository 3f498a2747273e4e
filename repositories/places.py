"""Bounds that any number of rivals keep: each row that counts has a numbered place of its account, and no two the same.

The insert itself takes the place, by a unique index. That index is partial, over the rows that count, so that the write
after which a row counts no more sets its place free.
"""

import random

from core.database import ASCENDING, Collection, Document, DuplicateKey, IndexModel, Session


class NoPlaceLeft(Exception):
    """The account has as many of these as it may."""


def place_index(counting: Document) -> IndexModel:
    """`counting` is what is equal in all rows that count."""
    return IndexModel(
        [("owner_id", ASCENDING), ("place", ASCENDING)],
        name="place",
        unique=True,
        partialFilterExpression={"place": {"$exists": True}, **counting},
    )


async def insert_in_place(
    collection: Collection,
    document: Document,
    counting: Document,
    *,
    most: int,
    index: str,
    session: Session | None = None,
) -> None:
    """Insert a row that counts as one of at most so many of its account's, which are found by the index named.

    Raises NoPlaceLeft, and DuplicateKey where its id is taken.
    """
    while True:
        wanted = {"owner_id": document["owner_id"], **counting}
        rows = await collection.find(wanted, {"place": 1}, hint=index, session=session).to_list(None)
        taken = {row["place"] for row in rows if "place" in row}
        # Rows of an older version have no place, and count all the same.
        free = set(range(most - (len(rows) - len(taken)))) - taken
        if not free:
            raise NoPlaceLeft
        place = random.choice(list(free))  # noqa: S311 - spreads rivals, guards nothing
        try:
            await collection.insert_one({**document, "place": place}, session=session)
        except DuplicateKey as error:
            if "place" not in (error.details or {}).get("keyPattern", {}):
                raise
        else:
            return
