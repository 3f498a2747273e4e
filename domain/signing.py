"""Webhook signatures, both ways: Standard Webhooks (standardwebhooks.com, "v1") and the plain X-Signature.

All comparisons are constant-time, and everything that arrives is taken as hostile: whatever is malformed
simply does not fit.
"""

import binascii
import hmac
from base64 import b64decode, b64encode
from hashlib import sha256

TOLERANCE_S = 300
MAX_SIGNATURES = 10
MAX_HEADER_LENGTH = 4096
SECRET_PREFIX = "whsec_"  # noqa: S105 - a prefix


def standard_signature(secret: str, message_id: str, timestamp_s: int, body: bytes) -> str:
    """`v1,` and base64 of HMAC-SHA256 over `id.timestamp.body`, keyed with the secret's decoded bytes."""
    signed = f"{message_id}.{timestamp_s}.".encode() + body
    return "v1," + b64encode(hmac.digest(_key(secret), signed, sha256)).decode("ascii")


def plain_signature(secret: str, body: bytes) -> str:
    """Hex HMAC-SHA256 of the raw body, keyed with the whole secret string (its prefix included)."""
    return hmac.digest(secret.encode(), body, sha256).hex()


def verify_standard(
    secret: str, body: bytes, *, message_id: str, timestamp: str, signatures: str, now_s: float
) -> bool:
    """Whether one of the space-separated signatures fits and the timestamp is within five minutes of now."""
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        return False
    if abs(now_s - int(timestamp)) > TOLERANCE_S or not message_id or len(signatures) > MAX_HEADER_LENGTH:
        return False
    expected = standard_signature(secret, message_id, int(timestamp), body).encode()
    fits = False
    for signature in signatures.split(" ")[:MAX_SIGNATURES]:
        fits |= hmac.compare_digest(expected, signature.encode("utf-8", "replace"))
    return fits


def verify_plain(secret: str, body: bytes, signature: str) -> bool:
    """Whether the hex signature fits; upper case is accepted."""
    return hmac.compare_digest(
        plain_signature(secret, body).encode(), signature[:MAX_HEADER_LENGTH].lower().encode("utf-8", "replace")
    )


def valid_secret(secret: str) -> bool:
    """Whether a text is a webhook secret: `whsec_` and base64 of at least 24 bytes."""
    try:
        return secret.startswith(SECRET_PREFIX) and len(_key(secret)) >= 24
    except (binascii.Error, ValueError):
        return False


def _key(secret: str) -> bytes:
    return b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
