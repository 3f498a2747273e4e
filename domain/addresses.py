"""Where clients are, as far as what they do is counted by it."""

from ipaddress import IPv6Address, IPv6Network, ip_address


def place_of(address: str | None) -> str:
    """An address, or for IPv6 the network of 64 bits that a single customer gets (RFC 6177)."""
    if address is None:
        return "unknown"
    found = ip_address(address)
    return str(IPv6Network((found, 64), strict=False)) if isinstance(found, IPv6Address) else address
