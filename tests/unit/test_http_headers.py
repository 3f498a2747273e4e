"""Headers as they are kept: bounded, each and in total, and without the secrets among them."""

import pytest

from domain.http_headers import LONGEST_VALUE, MOST, MOST_BYTES, Headers, kept
from domain.redaction import REDACTED


def size_bytes(headers: Headers) -> int:
    return sum(len(text.encode()) for header in headers for text in header)


def test_no_more_than_so_many_are_kept_and_none_is_longer_than_so_many_characters() -> None:
    headers = kept([("X-Short", "abc"), ("X-Long", "x" * 5_000), *(("X", "y") for _ in range(200))])

    assert headers[:2] == (("X-Short", "abc"), ("X-Long", "x" * LONGEST_VALUE))
    assert len(headers) == MOST


@pytest.mark.parametrize("letter", ["a", "\u20ac", "\U0001f600", "\udcff"], ids=ascii)
def test_together_they_are_bounded_as_they_are_stored(letter: str) -> None:
    headers = kept((f"X-{number}", letter * LONGEST_VALUE) for number in range(MOST))

    one = size_bytes(headers[:1])
    assert MOST_BYTES - one - 1 <= size_bytes(headers) <= MOST_BYTES
    assert [name for name, _ in headers] == [f"X-{number}" for number in range(len(headers))]


@pytest.mark.parametrize(
    "name",
    [
        *(
            "Authorization",
            "Proxy-Authorization",
            "Authentication-Info",
            "Cookie",
            "Set-Cookie",
            "X-Auth",
            "X-Auth-User",
        ),
        *("X-JWT", "X-Access-Key", "X-Signing-Key", "X-API-Key", "x_api_key", "X-ApiKey", "X-Client-Secret"),
        *("X-CSRF-Token", "X-Session-Id", "X-Password", "X-Amz-Credential"),
    ],
)
def test_of_what_carries_a_secret_the_name_is_kept(name: str) -> None:
    assert kept([(name, "hush"), (name.upper(), "hush")]) == ((name, REDACTED), (name.upper(), REDACTED))


@pytest.mark.parametrize(
    ("location", "then"),
    [
        ("/elsewhere", "/elsewhere"),
        ("https://example.com/hook?token=hush", "https://example.com/hook"),
        ("https://example.com/hook#access_token=hush", "https://example.com/hook"),
        ("/hook#a?b", "/hook"),
        ("http://[?token=hush", "http://["),
    ],
)
def test_of_an_address_neither_query_nor_fragment_is_kept(location: str, then: str) -> None:
    assert kept([("Location", location), ("content-location", location)]) == (
        ("Location", then),
        ("content-location", then),
    )


def test_other_headers_are_kept_as_they_are() -> None:
    headers = (("Content-Type", "text/plain"), ("X-Request-Id", "a?b#c"), ("Server", "nginx"))

    assert kept(headers) == headers
