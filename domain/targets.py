"""Which addresses a webhook may not be sent to where strangers name the URLs."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

# `is_global` of the standard library lets these pass, in this version of Python or in a newer one, or follows the
# address embedded in them. None of them is where a public receiver lives, and each can lead into a private network.
_NEVER = tuple(
    ip_network(network)
    for network in (
        "161.26.0.0/16",  # IBM Cloud's resolvers and other services, for its own machines alone
        "166.8.0.0/14",  # the same
        "168.63.129.16/32",  # Azure's host, asked by each of its machines
        # Protocol assignments (RFC 6890), whose 192.0.0.192 is Oracle Cloud's metadata. Python 3.11.7 lets all pass
        # but .0 to .7, .170 and .171; newer ones .9 and .10 (the nearest router, by PCP and TURN; RFC 7723, RFC 8155).
        "192.0.0.0/24",
        "192.31.196.0/24",  # AS112, whichever network's own (RFC 7535)
        "192.52.193.0/24",  # AMT relays (RFC 7450)
        "192.88.99.0/24",  # 6to4 relays (RFC 7526)
        "192.175.48.0/24",  # AS112 (RFC 7534)
        "::/96",  # IPv4-compatible (RFC 4291)
        "::ffff:0:0/96",  # IPv4-mapped (RFC 4291)
        "::ffff:0:0:0/96",  # IPv4-translated (RFC 7915)
        "64:ff9b::/96",  # NAT64 (RFC 6052)
        "64:ff9b:1::/48",  # local-use NAT64 (RFC 8215)
        "2001::/23",  # protocol assignments (RFC 2928), Teredo (RFC 4380) among them; newer Pythons let some pass
        "2002::/16",  # 6to4 (RFC 3056)
        "2620:4f:8000::/48",  # AS112 (RFC 7534)
        "3fff::/20",  # documentation (RFC 9637)
        "5f00::/16",  # segment routing (RFC 9602)
        "fec0::/10",  # site-local (RFC 3879)
    )
)


def forbidden(address: str) -> bool:
    """Whether an address is private, loopback, link-local, multicast, reserved, or an embedding of another one.

    What is not an IP address at all is forbidden as well.
    """
    try:
        ip: IPv4Address | IPv6Address = ip_address(address.partition("%")[0])
    except ValueError:
        return True
    return not ip.is_global or ip.is_multicast or ip.is_reserved or any(ip in network for network in _NEVER)
