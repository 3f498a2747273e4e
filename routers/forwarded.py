"""Where a request comes from: the connection, or what a proxy that the operator trusts says of it."""

from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

from starlette.types import ASGIApp, Receive, Scope, Send

Networks = tuple[IPv4Network | IPv6Network, ...]
_SCHEMES = ("http", "https")
_MOST_CHARACTERS = 45
"""Of an address: IPv6 in full, its end written as IPv4. Nothing longer is kept, or strangers could fill the memory."""
_KEPT = 4096
"""Addresses, since most come again and again."""


class ForwardedClient:
    """Puts into the scope what a peer in TRUSTED_PROXIES forwards: the client's address and the scheme it has used.

    A proxy adds the address it was called from at the right of X-Forwarded-For, so the client is the first one from
    the right that is no trusted proxy itself; what stands left of it anybody may have written.
    """

    def __init__(self, app: ASGIApp, *, trusted: Networks):
        self._app = app
        self._trusts = lru_cache(_KEPT)(partial(_is_in, trusted))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._trusts(client_address(scope)):
            _believe(scope, self._trusts)
        await self._app(scope, receive, send)


def client_address(scope: Scope) -> str | None:
    """The client's address in its usual form; None where it is unknown, as over a Unix socket. Every use of the
    address goes through here."""
    client = scope["client"]
    return None if client is None else _address(client[0])


def _believe(scope: Scope, trusts: Callable[[str | None], bool]) -> None:
    hops = _values(scope, b"x-forwarded-for")
    if hops:
        client = next((hop for hop in reversed(hops) if not trusts(_address(_without_port(hop)))), hops[0])
        address = _address(_without_port(client))
        scope["client"] = None if address is None else (address, 0)
    schemes = _values(scope, b"x-forwarded-proto")
    if schemes and schemes[-1].lower() in _SCHEMES:
        scope["scheme"] = schemes[-1].lower()


def _values(scope: Scope, name: bytes) -> list[str]:
    """The members of a header that is a list (RFC 9110, section 5.6.1), however many lines it has."""
    lines: Iterable[bytes] = (value for header, value in scope["headers"] if header == name)
    members = (member.strip() for line in lines for member in line.decode("latin-1").split(","))
    return [member for member in members if member]


def _without_port(hop: str) -> str:
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop


def _is_in(networks: Networks, address: str | None) -> bool:
    if address is None:
        return False
    found = ip_address(address)
    return any(found in network for network in networks)


def _address(text: str) -> str | None:
    """An address in its usual form; None for what is none."""
    return _usual(text) if len(text) <= _MOST_CHARACTERS else None


@lru_cache(_KEPT)
def _usual(text: str) -> str | None:
    if "%" in text:
        return None  # after it any text may stand, and a zone means something on one machine only
    try:
        found = ip_address(text)
    except ValueError:
        return None
    # What a socket for both kinds calls an IPv4 client.
    return str(found.ipv4_mapped or found) if isinstance(found, IPv6Address) else str(found)
