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
_PTR, _IN = 12, 1  # RFC 1035: the type of a record that names whose an address is, and its class
_TIMES = 2  # a datagram may be lost, on Wi-Fi above all


@dataclass(frozen=True)
class Announced:
    """A host name, such as `pi01.local`, and the IPv4 address that it says is its own."""

    host: str
    address: str


def announced_boards(network: str, hosts: Sequence[str] = ()) -> list[Announced]:
    """Who announces one of SERVICES in a network, or answers to an address in it, USUAL_HOST or a name in `hosts`; each once.

    Raspberry Pi OS announces no service, but its avahi-daemon says whose an address is: a few datagrams ask for all of a
    network of at most MOST_ADDRESSES.
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
            heard = list(_heard(zeroconf, asked, wanted, [USUAL_HOST, *hosts]))
    except (OSError, zeroconf.Error) as error:
        raise BadInputError(f"multicast DNS cannot be asked on {own}: {error}", "leave --mdns out") from None
    found = {address: host for host, address in heard if is_ipv4(address) and ipaddress.IPv4Address(address) in wanted}
    return [Announced(found[each], each) for each in sorted(found, key=ipaddress.IPv4Address)]


def _heard(
    zeroconf: Any, asked: Any, network: ipaddress.IPv4Network, hosts: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """Host names without the last dot, and their addresses: by address first, then of services, then those asked for."""
    services: dict[tuple[str, str], None] = {}
    whose = _reverse_names(network)

    def hear(service_type: str, name: str, **_: Any) -> None:
        if len(services) < MOST_ADDRESSES:
            services[service_type, name] = None

    def addresses(host: str) -> list[str]:
        resolver = zeroconf.AddressResolverIPv4(f"{host}.")
        resolver.request(asked, 1000 * LISTEN_SECONDS)
        return [str(each) for each in resolver.parsed_addresses()]

    def ask_whose() -> None:
        for _ in range(_TIMES if whose else 0):
            questions = zeroconf.DNSOutgoing(0)
            for name in whose:
                questions.add_question(zeroconf.DNSQuestion(name, _PTR, _IN))
            asked.send(questions)
            time.sleep(LISTEN_SECONDS / (_TIMES + 1))

    browser = zeroconf.ServiceBrowser(asked, list(SERVICES), handlers=[hear])
    ends = time.monotonic() + LISTEN_SECONDS
    with ThreadPoolExecutor(len(hosts) + 1) as pool:
        pool.submit(ask_whose)
        by_name = list(zip(hosts, pool.map(addresses, hosts), strict=True))
    time.sleep(max(ends - time.monotonic(), 0.0))
    browser.cancel()
    for name, address in whose.items():
        yield from ((each.alias.removesuffix("."), address) for each in asked.cache.get_all_by_details(name, _PTR, _IN))
    ends = time.monotonic() + ANSWER_SECONDS
    for service, name in list(services):
        info = None
        with suppress(zeroconf.Error):  # anybody may say a name that is none
            info = asked.get_service_info(service, name, timeout=max(1000 * (ends - time.monotonic()), 1.0))
        if info is not None and info.server:
            yield from ((info.server.removesuffix("."), str(each)) for each in info.parsed_addresses())
    yield from ((host, each) for host, found in by_name for each in found)


def _reverse_names(network: ipaddress.IPv4Network) -> dict[str, str]:
    """By the name under which DNS knows it (RFC 1035, 3.5), each address of a network; none of one that is too large."""
    if network.num_addresses > MOST_ADDRESSES:
        return {}
    return {f"{each.reverse_pointer}.": str(each) for each in network.hosts()}
