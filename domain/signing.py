"""Webhook signatures, both ways: Standard Webhooks (standardwebhooks.com, "v1") and the plain X-Signature.

All comparisons are constant-time, and everything that arrives is taken as hostile: whatever is malformed
simply does not fit.
"""

import binascii
import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Sequence
from enum import StrEnum
from hashlib import sha256

TOLERANCE_S = 300
MAX_SIGNATURES = 10
MAX_HEADER_LENGTH = 4096
SECRET_PREFIX = "whsec_"  # noqa: S105 - a prefix
USER_AGENT = "MockPSP-Webhooks/1.0"
_PLAIN_SIGNATURE = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)


class Refusal(StrEnum):
    """Why a message does not verify."""

    MISSING = "missing"
    """No signature, or one of the three Standard Webhooks headers is not there."""
    MALFORMED = "malformed"
    """Not ASCII, too long, more than ten signatures, no time in seconds, no 64 hex digits."""
    STALE = "stale"
    """Signed more than five minutes away from now."""
    WRONG = "wrong"
    """No signature fits any live secret."""


def standard_signature(secret: str, message_id: str, timestamp_s: int, body: bytes) -> str:
    """`v1,` and base64 of HMAC-SHA256 over `id.timestamp.body`, keyed with the secret's decoded bytes."""
    signed = f"{message_id}.{timestamp_s}.".encode() + body
    return "v1," + b64encode(hmac.digest(_key(secret), signed, sha256)).decode("ascii")


def plain_signature(secret: str, body: bytes) -> str:
    """Hex HMAC-SHA256 of the raw body, keyed with the whole secret string (its prefix included)."""
    return hmac.digest(secret.encode(), body, sha256).hex()


def webhook_headers(secrets: Sequence[str], message_id: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """All headers that a webhook is sent with. `secrets` are the newest first, two while a rotation overlaps."""
    return {
        "Content-Type": "application/json",
        "User-Agent": USER_AGENT,
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(
            [standard_signature(secret, message_id, timestamp_s, body) for secret in secrets]
        ),
        # It has room for one only: receivers know the old secret until they are given the new one.
        "X-Signature": plain_signature(secrets[-1], body),
    }


def derived_secret(key: str, label: str) -> str:
    """The webhook secret that this key always gives under this label, and that gives nothing of the key away."""
    return SECRET_PREFIX + b64encode(hmac.digest(key.encode(), label.encode(), sha256)).decode("ascii")


def verify_standard(
    secret: str, body: bytes, *, message_id: str, timestamp: str, signatures: str, now_s: float
) -> bool:
    """Whether one of the space-separated signatures fits and the timestamp is within five minutes of now."""
    refusal = standard_refusal(
        [secret], body, message_id=message_id, timestamp=timestamp, signatures=signatures, now_s=now_s
    )
    return refusal is None


def verify_plain(secret: str, body: bytes, signature: str) -> bool:
    """Whether the hex signature fits; upper case is accepted."""
    return plain_refusal([secret], body, signature) is None


def standard_refusal(
    secrets: Sequence[str], body: bytes, *, message_id: str, timestamp: str, signatures: str, now_s: float
) -> Refusal | None:
    """Why Standard Webhooks' headers do not vouch for the body under any of the live secrets; None where they do.

    The timestamp is read more strictly than the libraries do: whole seconds in digits, no `1e9`, no `nan`.
    """
    if not (message_id and timestamp and signatures):
        return Refusal.MISSING
    given = signatures.split(" ", MAX_SIGNATURES)
    headers_are_sound = all(
        header.isascii() and len(header) <= MAX_HEADER_LENGTH for header in (message_id, timestamp, signatures)
    )
    if not headers_are_sound or len(given) > MAX_SIGNATURES or not (timestamp.isdigit() and len(timestamp) <= 12):
        return Refusal.MALFORMED
    if abs(now_s - int(timestamp)) > TOLERANCE_S:
        return Refusal.STALE
    fits = False
    for secret in secrets:
        expected = standard_signature(secret, message_id, int(timestamp), body).encode()
        for signature in given:
            fits |= hmac.compare_digest(expected, signature.encode())
    return None if fits else Refusal.WRONG


def plain_refusal(secrets: Sequence[str], body: bytes, signature: str) -> Refusal | None:
    """Why an X-Signature does not vouch for the body under any of the live secrets; None where it does."""
    if not signature:
        return Refusal.MISSING
    if not _PLAIN_SIGNATURE.fullmatch(signature):
        return Refusal.MALFORMED
    fits = False
    for secret in secrets:
        fits |= hmac.compare_digest(plain_signature(secret, body), signature.lower())
    return None if fits else Refusal.WRONG


def valid_secret(secret: str) -> bool:
    """Whether a text is a webhook secret: `whsec_` and base64 of at least 24 bytes."""
    try:
        return secret.startswith(SECRET_PREFIX) and len(_key(secret)) >= 24
    except (binascii.Error, ValueError):
        return False


def _key(secret: str) -> bytes:
    return b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
