"""Which clients count as one, for limits on connections and on login attempts."""

from __future__ import annotations

import ipaddress


def client_network(host: str) -> str:
    """What a client's limits are counted by: its IPv4 address, or the /64 network of its IPv6 address.

    A single machine usually has a whole /64 network of IPv6 addresses to choose from.

    Args:
        host: the address of the other end of a connection; any other text is returned as it is.
    """
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address.packed, 64), strict=False))
    return str(address)
