"""Public ids: a prefix that tells the kind, and 128 bits in Crockford's base32 (26 characters).

A fresh id holds 48 bits of milliseconds and 80 random bits (the layout of the ULID specification), so ids
sort by creation. An id derived from an idempotency key is a hash of the same length (docs/decisions/0002).
"""

import hashlib
import re
import secrets
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [first + second for first in _CROCKFORD for second in _CROCKFORD]
_SHIFTS = range(120, -1, -10)
ENCODED_LENGTH = 26
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ID = re.compile(f"[a-z]{{1,8}}_[{_CROCKFORD}]{{{ENCODED_LENGTH}}}")


def fresh(prefix: str) -> str:
    """A new id such as `txn_01kb…`: 80 random bits, sortable by creation."""
    return f"{prefix}_{_encode((time.time_ns() // 1_000_000).to_bytes(6, 'big') + secrets.token_bytes(10))}"


def derived(prefix: str, *parts: str) -> str:
    """The id that the same parts always give: SHA-256 of them, shortened to 128 bits.

    Each part is preceded by its length, so ("a", "bc") and ("ab", "c") give different ids.
    """
    return f"{prefix}_{_encode(_digest(parts)[:16])}"


def derived_at(prefix: str, moment: datetime, *parts: str) -> str:
    """The same of what came about at a moment: it sorts by creation as a fresh id does."""
    milliseconds = (moment - _EPOCH) // timedelta(milliseconds=1)
    return f"{prefix}_{_encode(milliseconds.to_bytes(6, 'big') + _digest(parts)[:10])}"


def is_id(text: str) -> bool:
    """Whether a text has the form of an id."""
    return _ID.fullmatch(text) is not None


def _digest(parts: Sequence[str]) -> bytes:
    told_apart = "".join([f"{len(part)}:{part}" for part in parts])
    return hashlib.sha256(told_apart.encode()).digest()


def _encode(sixteen_bytes: bytes) -> str:
    # 128 bits and two of padding are 13 pairs of characters, each looked up at once: half of what base64 takes.
    bits = int.from_bytes(sixteen_bytes, "big") << 2
    return "".join([_PAIRS[bits >> shift & 1023] for shift in _SHIFTS])
