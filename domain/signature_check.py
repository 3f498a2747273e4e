"""Why the signatures of a webhook do not fit.

The verdict is that of domain/signing.py; only the reason is looked for here, by trying the mistakes that are made most.
For whoever holds the secret: an answer of the API tells no reason, which would help somebody who guesses.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from hmac import digest

from domain import signing

STANDARD_HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")
PLAIN_HEADER = "x-signature"
HEADERS = frozenset((*STANDARD_HEADERS, PLAIN_HEADER))
UNEXPLAINED = "It was made with another secret, or over other bytes: {signed}."


class Scheme(StrEnum):
    STANDARD = "Standard Webhooks"
    PLAIN = "X-Signature"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of one scheme: `problem` is a sentence or two, None where the signature fits."""

    scheme: Scheme
    problem: str | None


def check(secret: str, body: bytes, headers: Mapping[str, str], *, now_s: float) -> list[Finding]:
    """A finding for each scheme of which a header is there; the names of `headers` are in lower case.

    A webhook is verified when there is a finding and none has a problem, which is the rule for incoming webhooks.
    The secret is one that `signing.valid_secret` accepts.
    """
    findings = []
    if any(name in headers for name in STANDARD_HEADERS):
        findings.append(Finding(Scheme.STANDARD, _standard_problem(secret, body, headers, now_s)))
    if PLAIN_HEADER in headers:
        findings.append(Finding(Scheme.PLAIN, _plain_problem(secret, body, headers[PLAIN_HEADER])))
    return findings


def _standard_problem(secret: str, body: bytes, headers: Mapping[str, str], now_s: float) -> str | None:
    missing = [name for name in STANDARD_HEADERS if not headers.get(name)]
    if missing:
        return f"Missing: {', '.join(missing)}. The three headers belong together."
    message_id, timestamp, signatures = (headers[name] for name in STANDARD_HEADERS)

    def fits_at(time_s: float) -> bool:
        return signing.verify_standard(
            secret, body, message_id=message_id, timestamp=timestamp, signatures=signatures, now_s=time_s
        )

    if fits_at(now_s):
        return None
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        return "webhook-timestamp is whole seconds since 1970, in digits (not milliseconds, and no date)."
    if fits_at(int(timestamp)):
        age_s = round(now_s - int(timestamp))
        away = f"{age_s} s old" if age_s > 0 else f"{-age_s} s ahead"
        return (
            f"The signature itself fits, but webhook-timestamp is {away}, and at most {signing.TOLERANCE_S} s "
            "are accepted: the message was kept, or one of the clocks is wrong."
        )
    for name in STANDARD_HEADERS:
        if not headers[name].isascii() or len(headers[name]) > signing.MAX_HEADER_LENGTH:
            return f"{name} is not ASCII, or longer than {signing.MAX_HEADER_LENGTH} characters."
    return _standard_mismatch(secret, body, message_id, int(timestamp), signatures.split(" "))


def _standard_mismatch(secret: str, body: bytes, message_id: str, timestamp_s: int, given: list[str]) -> str:
    if len(given) > signing.MAX_SIGNATURES:
        return f"webhook-signature holds {len(given)} signatures, and at most {signing.MAX_SIGNATURES} are tried."
    if not any(one.startswith("v1,") for one in given):
        return "webhook-signature has no signature that begins with v1, (version 1, the one with HMAC-SHA256)."
    for mistaken, reason in _standard_mistakes(secret, body, message_id, timestamp_s):
        if mistaken in given:
            return reason
    return UNEXPLAINED.format(signed="webhook-id, webhook-timestamp or the body differ from what was signed")


def _plain_problem(secret: str, body: bytes, signature: str) -> str | None:
    if signing.verify_plain(secret, body, signature):
        return None
    for mistaken, reason in _plain_mistakes(secret, body):
        if mistaken == signature:
            return reason
    if len(signature) != 64 or not set(signature) <= set("0123456789abcdefABCDEF"):
        return f"X-Signature is 64 hexadecimal digits; this is something else, of {len(signature)} characters."
    return UNEXPLAINED.format(signed="the body differs from what was signed")


def _standard_mistakes(secret: str, body: bytes, message_id: str, timestamp_s: int) -> Iterator[tuple[str, str]]:
    """Signatures that do not fit, each with the reason."""
    for other, reason in _other_bodies(body):
        yield signing.standard_signature(secret, message_id, timestamp_s, other), reason
    signed = f"{message_id}.{timestamp_s}.".encode() + body
    for key in (secret, secret.removeprefix(signing.SECRET_PREFIX)):
        yield (
            _v1(key.encode(), signed),
            "It is keyed with the text of the secret: the key is what follows whsec_, decoded from base64.",
        )
    yield (
        _v1(_decoded(secret), body),
        "It is made over the body alone: what is signed is webhook-id, webhook-timestamp and the body, joined by dots.",
    )


def _plain_mistakes(secret: str, body: bytes) -> Iterator[tuple[str, str]]:
    """Signatures that do not fit, each with the reason."""
    right = digest(secret.encode(), body, "sha256")
    yield f"sha256={right.hex()}", "X-Signature is the hexadecimal digits alone, without sha256= before them."
    yield b64encode(right).decode(), "X-Signature is written in hexadecimal digits; this is the same in base64."
    for other, reason in _other_bodies(body):
        yield signing.plain_signature(secret, other), reason
    for key in (_decoded(secret), secret.removeprefix(signing.SECRET_PREFIX).encode()):
        yield (
            digest(key, body, "sha256").hex(),
            "It is keyed with a part of the secret: the key of X-Signature is its whole text, whsec_ included.",
        )


def _other_bodies(body: bytes) -> Iterator[tuple[bytes, str]]:
    """What may have been signed in place of the body, with the reason."""
    for line_break in (b"\n", b"\r\n"):
        yield body + line_break, "The body that was signed has a line break at its end, and this one has not."
        if body.endswith(line_break):
            yield (
                body.removesuffix(line_break),
                "The body has a line break at its end that was not signed (echo and editors add one).",
            )
    for written in _written_again(body):
        yield (
            written,
            "The body that was signed is the same JSON written in another way: "
            "sign and verify the bytes as they are sent, and parse them afterwards.",
        )


def _written_again(body: bytes) -> list[bytes]:
    """The JSON of a body as common libraries write it; nothing if it is none."""
    try:
        value = json.loads(body)
        return [
            json.dumps(value, separators=separators, ensure_ascii=ascii_only, indent=indent).encode()
            for separators, indent in (((",", ":"), None), ((", ", ": "), None), ((",", ": "), 2))
            for ascii_only in (True, False)
        ]
    except (ValueError, RecursionError):
        return []


def _v1(key: bytes, signed: bytes) -> str:
    return "v1," + b64encode(digest(key, signed, "sha256")).decode()


def _decoded(secret: str) -> bytes:
    return b64decode(secret.removeprefix(signing.SECRET_PREFIX))
