"""Which boards announce themselves by multicast DNS (RFC 6762, RFC 6763) in a network that the user names.

Needs the optional part `mdns`. What is heard is anybody's word: addresses only count where they lie in the network.
"""

from __future__ import annotations

import ipaddress
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any

from harness.boards.board import MOST_ADDRESSES, is_ipv4, network_of
from harness.errors import BadInputError
from harness.system.addresses import own_address

SERVICES = ("_ssh._tcp.local.", "_workstation._tcp.local.")
USUAL_HOST = "raspberrypi.local"
"""The host name of a board whose owner gave it none; it answers to it though it may announce no service."""
SUFFIX = ".local"
LISTEN_SECONDS = 3.0
ANSWER_SECONDS = 3.0
REQUIREMENT = "zeroconf>=0.132"
"""As in pyproject.toml; a test compares them."""


@dataclass(frozen=True)
class Announced:
    """A host name, such as `pi01.local`, and the IPv4 address that it says is its own."""

    host: str
    address: str


def announced_boards(network: str, hosts: Sequence[str] = ()) -> list[Announced]:
    """Who announces one of SERVICES in a network, or answers to USUAL_HOST or a name in `hosts`; each address once.

    The questions go out on the interface that is in the network, and on no other. It takes no longer than LISTEN_SECONDS and
    ANSWER_SECONDS together. Raises BadInputError where this machine is not in the network, or the part is not installed.
    """
    try:
        import zeroconf  # noqa: PLC0415 - an optional part
    except ImportError:
        command = shlex.join([sys.executable, "-m", "pip", "install", REQUIREMENT])
        raise BadInputError("not installed: zeroconf, which --mdns needs", command) from None
    wanted = network_of(network)
    own = own_address(str(wanted[min(1, wanted.num_addresses - 1)]))
    if ipaddress.IPv4Address(own) not in wanted:
        raise BadInputError(
            f"this machine has no address in {network}, and multicast DNS passes no router",
            "run this on a machine that is in the network, or leave --mdns out",
        )
    try:
        with closing(zeroconf.Zeroconf(interfaces=[own], ip_version=zeroconf.IPVersion.V4Only)) as asked:
            heard = list(_heard(zeroconf, asked, [USUAL_HOST, *hosts]))
    except (OSError, zeroconf.Error) as error:
        raise BadInputError(f"multicast DNS cannot be asked on {own}: {error}", "leave --mdns out") from None
    found = {address: host for host, address in heard if is_ipv4(address) and ipaddress.IPv4Address(address) in wanted}
    return [Announced(found[each], each) for each in sorted(found, key=ipaddress.IPv4Address)]


def _heard(zeroconf: Any, asked: Any, hosts: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Host names without the last dot, and their addresses: of services first, then those that were asked for by name."""
    services: dict[tuple[str, str], None] = {}

    def hear(service_type: str, name: str, **_: Any) -> None:
        if len(services) < MOST_ADDRESSES:
            services[service_type, name] = None

    def addresses(host: str) -> list[str]:
        resolver = zeroconf.AddressResolverIPv4(f"{host}.")
        resolver.request(asked, 1000 * LISTEN_SECONDS)
        return [str(each) for each in resolver.parsed_addresses()]

    browser = zeroconf.ServiceBrowser(asked, list(SERVICES), handlers=[hear])
    ends = time.monotonic() + LISTEN_SECONDS
    with ThreadPoolExecutor(max(len(hosts), 1)) as pool:
        by_name = list(zip(hosts, pool.map(addresses, hosts), strict=True))
    time.sleep(max(ends - time.monotonic(), 0.0))
    browser.cancel()
    ends = time.monotonic() + ANSWER_SECONDS
    for service, name in list(services):
        info = None
        with suppress(zeroconf.Error):  # anybody may say a name that is none
            info = asked.get_service_info(service, name, timeout=max(1000 * (ends - time.monotonic()), 1.0))
        if info is not None and info.server:
            yield from ((info.server.removesuffix("."), str(each)) for each in info.parsed_addresses())
    yield from ((host, each) for host, found in by_name for each in found)
