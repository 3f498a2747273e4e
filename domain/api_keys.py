"""API keys: what each may do, until when, and from where. An account has a few of them."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

MOST_KEYS = 20
"""Of an account: each request that shows a key reads them all."""


class Scope(StrEnum):
    """What a key opens, of all that its account's role opens."""

    PAYMENTS_READ = "payments:read"
    PAYMENTS_WRITE = "payments:write"
    REFUNDS_WRITE = "refunds:write"
    CUSTOMERS_READ = "customers:read"
    CUSTOMERS_WRITE = "customers:write"
    EVENTS_READ = "events:read"
    WEBHOOKS = "webhooks"
    WEBHOOKS_RECEIVE = "webhooks:receive"
    PAYMENT_KEYS = "payment_keys"
    API_KEYS = "api_keys"


ALL_SCOPES = frozenset(Scope)


@dataclass(frozen=True, slots=True)
class ApiKey:
    id: str
    name: str
    hash: bytes = field(repr=False)
    created_at: datetime
    scopes: frozenset[Scope] = ALL_SCOPES
    expires_at: datetime | None = None
    allowed_networks: tuple[str, ...] = ()
    """Where it may be used from, in CIDR notation (RFC 4632); empty for anywhere."""
    last_used_at: datetime | None = None
    """To the minute: it is not written down at each use."""
    previous_hash: bytes | None = field(default=None, repr=False)
    previous_ends_at: datetime | None = None
    """Until when the text from before the rotation counts as well."""

    @property
    def prefix(self) -> str:
        """Enough to recognise a key by, and nothing of its secret part."""
        return f"psp_sk_{self.id.removeprefix('key_')[:10]}…"

    def ended(self, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now

    def overlaps(self, now: datetime) -> bool:
        """Whether the text from before the rotation still counts."""
        return self.previous_ends_at is not None and self.previous_ends_at > now

    def opens_from(self, address: str | None) -> bool:
        """Whether it may be used from this address; a bound key from none that is unknown."""
        if not self.allowed_networks:
            return True
        try:
            found = ip_address(address or "")
        except ValueError:
            return False
        if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
            found = found.ipv4_mapped  # what a socket for both kinds calls an IPv4 client
        return any(_holds(network, found) for network in self.allowed_networks)

    def covers(self, other: "ApiKey") -> bool:
        """Whether it may do all that the other one may, as long and from wherever: exchanging it for the other one
        would gain nothing."""
        outlived = self.expires_at is not None and (other.expires_at is None or other.expires_at > self.expires_at)
        return not outlived and other.scopes <= self.scopes and self._covers_networks_of(other)

    def _covers_networks_of(self, other: "ApiKey") -> bool:
        if not self.allowed_networks:
            return True
        own = [ip_network(network) for network in self.allowed_networks]
        return bool(other.allowed_networks) and all(
            any(_within(ip_network(network), wider) for wider in own) for network in other.allowed_networks
        )


def network_of(text: str) -> str:
    """The canonical form of a network in CIDR notation, or of a single address. Raises ValueError."""
    if "%" in text:
        raise ValueError("a network here names no interface")
    return str(ip_network(text))


def _holds(network: str, address: IPv4Address | IPv6Address) -> bool:
    return address in ip_network(network)


def _within(network: IPv4Network | IPv6Network, wider: IPv4Network | IPv6Network) -> bool:
    if isinstance(network, IPv4Network) and isinstance(wider, IPv4Network):
        return network.subnet_of(wider)
    if isinstance(network, IPv6Network) and isinstance(wider, IPv6Network):
        return network.subnet_of(wider)
    return False
