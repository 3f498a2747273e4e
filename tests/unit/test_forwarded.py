"""Whose word counts for where a request comes from."""

import tracemalloc
from ipaddress import IPv4Network
from typing import Any

import pytest

from core.config import Settings
from routers.forwarded import ForwardedClient, client_address

TRUSTED = "10.0.0.0/8, 192.0.2.7, 2001:db8:aa::/48"
PROXY, CLIENT = "10.0.0.1", "203.0.113.7"
Client = tuple[str, int] | None


async def seen(client: Client, *headers: tuple[str, str], trusted: str = TRUSTED) -> tuple[str | None, str]:
    """The address and the scheme that a route is given."""
    settings = Settings(_env_file=None, trusted_proxies=trusted or ())  # type: ignore[arg-type]
    scope: dict[str, Any] = {
        "type": "http",
        "scheme": "http",
        "client": client,
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers],
    }
    found: list[tuple[str | None, str]] = []

    async def route(scope: Any, receive: Any, send: Any) -> None:
        found.append((client_address(scope), scope["scheme"]))

    await ForwardedClient(route, trusted=settings.trusted_proxies)(scope, None, None)  # type: ignore[arg-type]
    return found[0]


def forwarded(*hops: str) -> list[tuple[str, str]]:
    return [("X-Forwarded-For", line) for line in hops]


@pytest.mark.parametrize("peer", ["203.0.113.9", "11.0.0.1", "127.0.0.1", "2001:db8:ab::1", "::1"])
@pytest.mark.parametrize("trusted", [TRUSTED, ""])
async def test_what_any_other_peer_says_changes_nothing(peer: str, trusted: str) -> None:
    headers = [*forwarded(CLIENT), ("X-Forwarded-Proto", "https"), ("Forwarded", f"for={CLIENT};proto=https")]

    assert await seen((peer, 5000), *headers, trusted=trusted) == (peer, "http")


@pytest.mark.parametrize("peer", [PROXY, "::ffff:10.0.0.1", "192.0.2.7", "2001:db8:aa::1"])
async def test_what_a_trusted_proxy_says_counts(peer: str) -> None:
    headers = [*forwarded(CLIENT), ("X-Forwarded-Proto", "https")]

    assert await seen((peer, 5000), *headers) == (CLIENT, "https")


@pytest.mark.parametrize(
    ("lines", "address"),
    [
        (["198.51.100.1, 203.0.113.7"], CLIENT),  # whoever calls the proxy may write the first
        (["198.51.100.1", "203.0.113.7"], CLIENT),
        (["10.9.9.9, 203.0.113.7, 192.0.2.7, 10.0.0.2"], CLIENT),
        (["203.0.113.7:4711"], CLIENT),
        ([" 203.0.113.7 ,, "], CLIENT),
        (["::ffff:203.0.113.7"], CLIENT),
        (["2001:DB8::0007"], "2001:db8::7"),
        (["[2001:db8::7]"], "2001:db8::7"),
        (["[2001:db8::7]:443, 2001:db8:aa::2"], "2001:db8::7"),
        (["10.0.0.3, 10.0.0.2"], "10.0.0.3"),  # the client is one of ours
        ([""], PROXY),
        ([","], PROXY),
        ([], PROXY),
    ],
)
async def test_the_client_is_the_first_from_the_right_that_is_no_proxy(lines: list[str], address: str) -> None:
    assert (await seen((PROXY, 5000), *forwarded(*lines)))[0] == address


@pytest.mark.parametrize(
    "hop",
    [
        "unknown",
        "unix",
        "_hidden",
        "203.0.113",
        "203.0.113.7:x:y",
        "fe80::1%key",
        "[",
        "[]",
        "]",
        ":",
        "\xe9",
        "a" * 9000,
    ],
)
async def test_what_is_no_address_is_an_unknown_client_and_never_the_one_left_of_it(hop: str) -> None:
    assert (await seen((PROXY, 5000), *forwarded(f"{CLIENT}, {hop}")))[0] is None


@pytest.mark.parametrize("client", [None, ("", 0), ("unix", 0), ("testclient", 50000)])
async def test_a_peer_without_an_address_is_nobody_to_trust(client: Client) -> None:
    assert await seen(client, *forwarded(CLIENT), ("X-Forwarded-Proto", "https")) == (None, "http")


@pytest.mark.parametrize(
    ("said", "scheme"),
    [("https", "https"), ("HTTPS", "https"), ("http", "http"), ("http, https", "https"), ("ftp", "http"), ("", "http")],
)
async def test_the_scheme_is_what_the_nearest_proxy_says(said: str, scheme: str) -> None:
    assert (await seen((PROXY, 5000), ("X-Forwarded-Proto", said)))[1] == scheme


class CountedNetwork(IPv4Network):
    asked = 0

    def __contains__(self, address: object) -> bool:
        type(self).asked += 1
        return super().__contains__(address)


async def test_an_address_that_comes_again_is_looked_up_in_the_networks_once() -> None:
    async def route(scope: Any, receive: Any, send: Any) -> None:
        assert client_address(scope) == CLIENT

    layer = ForwardedClient(route, trusted=(CountedNetwork("10.0.0.0/8"),))
    for _ in range(5):
        headers = [(b"x-forwarded-for", f"{CLIENT}, {PROXY}".encode())]
        scope = {"type": "http", "scheme": "http", "client": (PROXY, 5000), "headers": headers}
        await layer(scope, None, None)  # type: ignore[arg-type]

    assert CountedNetwork.asked == 2


async def test_what_is_too_long_for_an_address_is_not_kept() -> None:
    tracemalloc.start()
    try:
        for number in range(100):
            await seen((PROXY, 5000), *forwarded(f"{number}" + "1" * 100_000))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert kept < 1_000_000


@pytest.mark.parametrize(
    "hop", ["0000:0000:0000:0000:0000:0000:203.100.113.107", "[2001:0db8:0000:0000:0000:ffff:203.100.113.107]:65535"]
)
async def test_the_longest_spellings_of_an_address_are_known(hop: str) -> None:
    assert (await seen((PROXY, 5000), *forwarded(hop)))[0] is not None
