"""The hash chain of the audit log: each link covers a row and the link before it, under a key that the database does
not hold in plain text. Whoever changes the database without that key cannot make a chain that fits, nor a row that is
linked: until it is, a row carries a seal under the same key."""

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from core.crypto import keyed_hash

CHAIN_FIELDS = frozenset({"linked", "sequence", "previous_hash", "hash"})
"""What linking adds to a row; all else is covered by its link."""
_LINK, _ROW, _HEAD = "audit_link", "audit_row", "audit_head"


@dataclass(frozen=True, slots=True)
class Head:
    """The last link: how many rows are linked, and the hash of the last one in hex."""

    sequence: int
    hash: str


GENESIS = Head(0, 64 * "0")
"""Before the first link."""


@dataclass(frozen=True, slots=True)
class ChainRow:
    """A row, as the chain sees it."""

    id: str
    content: bytes
    sequence: float | None = None
    """A whole number, unless somebody has changed it."""
    previous_hash: str | None = None
    hash: str | None = None
    seal: str | None = None
    """Of a row that waits for its link."""


def canonical(row: Mapping[str, Any]) -> bytes:
    """The bytes of a stored row that its link covers: every field, whatever it is called, but for those of the chain.

    JSON with sorted names, compact and in ASCII. No two rows that differ have the same bytes: times and other types
    that JSON lacks are told from texts and documents that look like them.
    """
    covered = {name: value for name, value in row.items() if name not in CHAIN_FIELDS}
    return json.dumps(_told_apart(covered), sort_keys=True, separators=(",", ":")).encode()


def follow(key: bytes, head: Head, content: bytes) -> Head:
    """The head once a row with this content is linked."""
    return Head(head.sequence + 1, link_hash(key, head.hash, content))


def link_hash(key: bytes, previous_hash: str, content: bytes) -> str:
    return keyed_hash(key, _LINK, previous_hash.encode() + b"\0" + content).hex()


def fits(key: bytes, row: ChainRow) -> bool:
    """Whether a row is as it was linked, whichever place it has now."""
    if row.previous_hash is None or row.hash is None:
        return False
    return hmac.compare_digest(link_hash(key, row.previous_hash, row.content).encode(), row.hash.encode())


def row_seal(key: bytes, content: bytes) -> str:
    """What a row carries from its insertion to its link: who has the database alone cannot write one that is linked."""
    return keyed_hash(key, _ROW, content).hex()


def is_sealed(key: bytes, row: ChainRow) -> bool:
    """Whether a row waits for its link just as it was written."""
    return row.seal is not None and hmac.compare_digest(row_seal(key, row.content).encode(), row.seal.encode())


def seal(key: bytes, head: Head) -> str:
    """What is kept beside the head, so that it cannot be moved by hand."""
    return keyed_hash(key, _HEAD, f"{head.sequence}:{head.hash}".encode()).hex()


def _told_apart(value: object) -> object:
    """In types of JSON. A name of ours begins with one `$`, so one `$` more stands before those of a row that do."""
    match value:
        case Mapping():
            return {f"${name}" if name.startswith("$") else name: _told_apart(one) for name, one in value.items()}
        case list():
            return [_told_apart(one) for one in value]
        case datetime():
            # In any zone: tests and tools may read times without one.
            moment = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
            return {"$date": moment.isoformat(timespec="milliseconds")}
        case None | int() | float() | Enum():
            return value
        case str() if type(value) is str:  # BSON has code as well, which the driver reads as a kind of text
            return value
        case _:
            return {f"${type(value).__name__}": repr(value)}
