"""Answers that can be repeated to the byte, and whether a request is the one that was answered."""

import hmac
from dataclasses import dataclass
from typing import Any

from core import json_codec
from core.crypto import keyed_hash
from core.errors import IdempotencyKeyReused
from repositories.claims import Claim


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as bytes, because a replay repeats it to the byte."""

    status: int
    body: bytes
    replayed: bool = False


def fingerprint_of(hash_key: bytes, fields: dict[str, Any]) -> bytes:
    """What tells a repeated request from another one under the same key: a keyed hash of what was asked for."""
    return keyed_hash(hash_key, "idempotency_fingerprint", json_codec.canonical(fields))


def replay(claim: Claim | None, fingerprint: bytes) -> Answer:
    """The first answer, for a request of this fingerprint. Raises IdempotencyKeyReused for another request."""
    if claim is None or not hmac.compare_digest(claim.fingerprint, fingerprint):
        raise IdempotencyKeyReused
    return Answer(claim.status, claim.body, replayed=True)
