"""Signatures that others can check, and checks that others' signatures pass."""

import hashlib
import hmac
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from core.security import new_webhook_secret
from domain.signing import (
    TOLERANCE_S,
    Refusal,
    derived_secret,
    plain_refusal,
    plain_signature,
    standard_refusal,
    standard_signature,
    valid_secret,
    verify_plain,
    verify_standard,
    webhook_headers,
)

SECRET = new_webhook_secret()
BODY = '{"id":"evt_1","name":"Zo\u00eb"}'.encode()
NOW = datetime(2026, 11, 21, 7, 25, 1, tzinfo=UTC)
NOW_S = int(NOW.timestamp())


def check(**changes: object) -> bool:
    given = {
        "message_id": "evt_1",
        "timestamp": str(NOW_S),
        "signatures": Webhook(SECRET).sign("evt_1", NOW, BODY.decode()),
        "now_s": NOW_S,
        **changes,
    }
    return verify_standard(given.pop("secret", SECRET), given.pop("body", BODY), **given)  # type: ignore[arg-type]


def test_the_standardwebhooks_package_makes_the_same_signature() -> None:
    assert standard_signature(SECRET, "evt_1", NOW_S, BODY) == Webhook(SECRET).sign("evt_1", NOW, BODY.decode())


def test_the_standardwebhooks_package_accepts_ours() -> None:
    now_s = int(datetime.now(UTC).timestamp())
    headers = {
        "webhook-id": "evt_1",
        "webhook-timestamp": str(now_s),
        "webhook-signature": standard_signature(SECRET, "evt_1", now_s, BODY),
    }

    assert Webhook(SECRET).verify(BODY, headers) == {"id": "evt_1", "name": "Zo\u00eb"}
    with pytest.raises(WebhookVerificationError):
        Webhook(new_webhook_secret()).verify(BODY, headers)


def test_three_lines_of_plain_hmac_make_the_x_signature() -> None:
    expected = hmac.new(SECRET.encode(), BODY, hashlib.sha256).hexdigest()

    assert plain_signature(SECRET, BODY) == expected
    assert verify_plain(SECRET, BODY, expected)
    assert verify_plain(SECRET, BODY, expected.upper())


def test_a_signature_of_the_package_is_accepted_alone_and_among_others() -> None:
    good = Webhook(SECRET).sign("evt_1", NOW, BODY.decode())

    assert check()
    assert check(signatures=f"v1,bm90IGl0 v1a,whatever {good}")


@pytest.mark.parametrize("away_s", [-TOLERANCE_S, 0, TOLERANCE_S])
def test_five_minutes_are_tolerated(away_s: int) -> None:
    assert check(now_s=NOW_S + away_s)


@pytest.mark.parametrize(
    "changes",
    [
        {"now_s": NOW_S + TOLERANCE_S + 1},
        {"now_s": NOW_S - TOLERANCE_S - 1},
        {"body": BODY + b" "},
        {"secret": new_webhook_secret()},
        {"message_id": "evt_2"},
        {"message_id": ""},
        {"timestamp": ""},
        {"timestamp": "now"},
        {"timestamp": f"{NOW_S}.0"},
        {"timestamp": f"-{NOW_S}"},
        {"timestamp": f" {NOW_S}"},
        {"timestamp": "\u0661" * 10},
        {"timestamp": "9" * 5000},
        {"signatures": ""},
        {"signatures": "v1"},
        {"signatures": "v1,"},
        {"signatures": "v1,\u00e9"},
        {"signatures": "v1,\ud800"},
        {"signatures": "x" * 100_000},
    ],
)
def test_whatever_does_not_fit_is_refused(changes: dict[str, object]) -> None:
    assert not check(**changes)


def test_more_than_ten_signatures_are_refused() -> None:
    good = Webhook(SECRET).sign("evt_1", NOW, BODY.decode())

    assert check(signatures=" ".join(["v1,no"] * 9 + [good]))
    assert not check(signatures=" ".join(["v1,no"] * 10 + [good]))
    assert not check(signatures=" ".join([good] + ["v1,no"] * 10))


def test_every_live_secret_is_tried() -> None:
    old, new = SECRET, new_webhook_secret()
    given = {"message_id": "evt_1", "timestamp": str(NOW_S), "now_s": float(NOW_S)}
    for secret in (old, new):
        signatures = standard_signature(secret, "evt_1", NOW_S, BODY)
        assert standard_refusal([new, old], BODY, signatures=signatures, **given) is None  # type: ignore[arg-type]
        assert plain_refusal([new, old], BODY, plain_signature(secret, BODY)) is None
    overlap = f"{standard_signature(new_webhook_secret(), 'evt_1', NOW_S, BODY)} {signatures}"
    assert standard_refusal([new], BODY, signatures=overlap, **given) is None  # type: ignore[arg-type]
    assert standard_refusal([old], BODY, signatures=overlap, **given) is Refusal.WRONG  # type: ignore[arg-type]
    assert plain_refusal([], BODY, plain_signature(old, BODY)) is Refusal.WRONG


@pytest.mark.parametrize("signature", ["", "0" * 64, "\u00e9", "\ud800", "x" * 100_000, "sha256=" + "0" * 64])
def test_an_x_signature_that_does_not_fit_is_refused(signature: str) -> None:
    assert not verify_plain(SECRET, BODY, signature)


@pytest.mark.parametrize(
    ("secret", "valid"),
    [
        pytest.param(new_webhook_secret(), True, id="a new one"),
        ("whsec_" + "A" * 32, True),
        ("whsec_" + "A" * 28, False),
        ("whsec_not base64!", False),
        ("A" * 32, False),
        ("", False),
    ],
)
def test_a_secret_is_whsec_and_base64_of_24_bytes_or_more(secret: str, valid: bool) -> None:
    assert valid_secret(secret) is valid


def test_while_a_rotation_overlaps_both_secrets_sign_and_the_plain_signature_is_the_old_ones() -> None:
    old, now_s = new_webhook_secret(), int(datetime.now(UTC).timestamp())

    headers = webhook_headers([SECRET, old], "evt_1", now_s, BODY)

    for secret in (SECRET, old):
        assert Webhook(secret).verify(BODY, headers)
    assert headers["X-Signature"] == plain_signature(old, BODY)


def test_a_derived_secret_is_always_the_same_and_another_for_another_key_or_label() -> None:
    made = [derived_secret(key, label) for key, label in (("a", "x"), ("a", "x"), ("b", "x"), ("a", "y"))]

    assert made[0] == made[1]
    assert len(set(made)) == 3
    assert all(valid_secret(secret) for secret in made)
