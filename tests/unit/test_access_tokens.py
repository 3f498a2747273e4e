"""Access tokens: issued under the newest key, taken under each (forged ones: tests/api/test_forged_tokens.py)."""

import json
from base64 import urlsafe_b64decode
from datetime import UTC, datetime, timedelta

import pytest

from core import clock
from core.access_tokens import CLOCK_LEEWAY_S, TokenSigner, key_id
from core.errors import TokenInvalid

OLD, NEW = b"o" * 32, b"n" * 32
LIFETIME = timedelta(minutes=1)
SIGNER = TokenSigner([OLD], LIFETIME)


def issued(signer: TokenSigner, ago_s: float = 0) -> str:
    return signer.issue("user_1", "sess_1", clock.now() - timedelta(seconds=ago_s))


def header(token: str) -> object:
    part = token.partition(".")[0]
    return json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def test_a_token_tells_whose_it_is() -> None:
    token = SIGNER.verify(issued(SIGNER))

    assert (token.account_id, token.session_id) == ("user_1", "sess_1")


def test_tokens_are_issued_under_the_newest_key_and_taken_under_each() -> None:
    both = TokenSigner([NEW, OLD], LIFETIME)

    assert header(issued(SIGNER)) == {"alg": "HS256", "typ": "JWT", "kid": key_id(OLD)}
    assert header(issued(both)) == {"alg": "HS256", "typ": "JWT", "kid": key_id(NEW)}
    assert both.verify(issued(SIGNER)) == both.verify(issued(both))
    for signer, token in ((TokenSigner([NEW], LIFETIME), issued(SIGNER)), (SIGNER, issued(both))):
        with pytest.raises(TokenInvalid):
            signer.verify(token)


def test_a_key_id_is_short_its_own_and_none_of_the_key() -> None:
    assert len(key_id(OLD)) == 12
    assert key_id(OLD) != key_id(NEW)
    assert key_id(b"secret-" * 6)[:3] not in "secret-" * 6


def test_a_clock_may_be_a_little_ahead_and_no_more() -> None:
    assert SIGNER.verify(issued(SIGNER, ago_s=-CLOCK_LEEWAY_S))

    with pytest.raises(TokenInvalid):
        SIGNER.verify(issued(SIGNER, ago_s=-CLOCK_LEEWAY_S - 2))


def test_the_end_of_a_token_is_the_end() -> None:
    assert SIGNER.verify(issued(SIGNER, ago_s=55))

    with pytest.raises(TokenInvalid):
        SIGNER.verify(issued(SIGNER, ago_s=60))


@pytest.mark.parametrize(
    "token",
    [
        "",
        "a.b.c",
        "\u00e9.\u00e9.\u00e9",
        "." * 10_000,
        SIGNER.issue("user_1", "sess_1", datetime.now(UTC) - timedelta(minutes=2)),
        TokenSigner([NEW], LIFETIME).issue("user_1", "sess_1", clock.now()),
    ],
)
def test_any_other_token_is_invalid(token: str) -> None:
    with pytest.raises(TokenInvalid):
        SIGNER.verify(token)
