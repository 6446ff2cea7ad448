"""Whether a firewall lets an address in; pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Any


def firewall_lets_in(address: str, networks: Iterable[str]) -> bool:
    """Whether an address is in one of the networks; an IPv4 address may be written as IPv6 (`::ffff:192.0.2.1`)."""
    parsed = ipaddress.ip_address(address)
    parsed = getattr(parsed, "ipv4_mapped", None) or parsed
    known = [ipaddress.ip_network(str(network), strict=False) for network in networks]
    return any(parsed in network for network in known if network.version == parsed.version)


class FilterModule:
    """Ansible's way to find the filters."""

    def filters(self) -> dict[str, Any]:
        """Filters by name."""
        return {"firewall_lets_in": firewall_lets_in}
