"""A node as its card must know it, checked before anything is made."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import BadInputError
from harness.images.nodes.wifi import Wifi

HOSTNAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
TIMEZONE = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*")
LOCALE = re.compile(r"[A-Za-z0-9_.@-]+")
PUBLIC_KEY = re.compile(r"(ssh-(ed25519|rsa)|ecdsa-sha2-\S+|sk-\S+@openssh\.com) [A-Za-z0-9+/=]+( .*)?")


@dataclass(frozen=True)
class CardNode:
    """A node as its card must know it. `prefix_length` in bits; `mac` lower case or empty."""

    name: str
    address: str
    user: str
    authorized_keys: tuple[str, ...]
    dhcp: bool = False
    prefix_length: int = 24
    gateway: str = ""
    nameservers: tuple[str, ...] = ()
    mac: str = ""
    timezone: str = "Etc/UTC"
    locale: str = "C.UTF-8"
    serial_console: bool = True
    wifi: Wifi | None = None
    """What it joins; its address is then that of the radio, and a cable asks for one."""

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> CardNode:
        """A checked CardNode from an inventory host's variables; BadInputError names the node and the variable."""
        name = str(given.get("name", ""))

        def refuse(problem: str, remedy: str) -> BadInputError:
            return BadInputError(f"{name or 'a node without a name'}: {problem}", remedy)

        if not HOSTNAME.fullmatch(name):
            raise refuse("is no host name", "name hosts with a-z, 0-9 and -, at most 63 characters")
        keys = tuple(str(key).strip() for key in given.get("authorized_keys", ()) if str(key).strip())
        if not keys:
            raise refuse(
                "no SSH key may log in",
                "set image_node_authorized_keys, or image_node_key_file to an existing key pair",
            )
        for key in keys:
            if not PUBLIC_KEY.fullmatch(key):
                raise refuse(f"{key[:40]!r} is no public SSH key", "give lines as in ~/.ssh/id_ed25519.pub")
        node = cls(
            name=name,
            address=str(given.get("address", "")),
            user=str(given.get("user", "")),
            authorized_keys=keys,
            dhcp=bool(given.get("dhcp", False)),
            prefix_length=int(given.get("prefix_length", 24)),
            gateway=str(given.get("gateway", "")),
            nameservers=tuple(str(server) for server in given.get("nameservers", ())),
            mac=str(given.get("mac", "")).lower(),
            timezone=str(given.get("timezone", cls.timezone)),
            locale=str(given.get("locale", cls.locale)),
            serial_console=bool(given.get("serial_console", True)),
            wifi=Wifi.parse(given.get("wifi") or {}, refuse),
        )
        if not USER.fullmatch(node.user) or node.user == "root":
            raise refuse(f"{node.user!r} cannot be the node's user", "set ansible_user to a name such as pi")
        if not TIMEZONE.fullmatch(node.timezone):
            raise refuse(f"{node.timezone!r} is no time zone", "set image_node_timezone to a name such as Etc/UTC")
        if not LOCALE.fullmatch(node.locale):
            raise refuse(f"{node.locale!r} is no locale", "set image_node_locale to a name such as C.UTF-8")
        if node.mac and not MAC.fullmatch(node.mac):
            raise refuse(f"{node.mac!r} is no MAC address", "set image_node_mac as b8:27:eb:00:00:01")
        if node.dhcp and not node.mac:
            raise refuse(
                "a DHCP reservation needs the board's MAC address",
                "set image_node_mac for it, or image_node_dhcp: false",
            )
        node._check_addresses(refuse)
        return node

    def _check_addresses(self, refuse: Any) -> None:
        try:
            interface = ipaddress.ip_interface(f"{self.address}/{self.prefix_length}")
        except ValueError:
            raise refuse(
                f"{self.address}/{self.prefix_length} is no IP address with a prefix length",
                "set ansible_host to an address and image_node_prefix_length to its network's",
            ) from None
        if interface.ip.is_loopback:
            raise refuse(f"{self.address} is a loopback address", "set ansible_host to the board's own address")
        for label, text in [
            ("image_node_gateway", self.gateway),
            *(("image_node_nameservers", s) for s in self.nameservers),
        ]:
            try:
                address = ipaddress.ip_address(text) if text else None
            except ValueError:
                raise refuse(f"{text!r} is no IP address", f"set {label} to one") from None
            if label == "image_node_gateway" and address is not None and address not in interface.network:
                raise refuse(
                    f"gateway {text} is outside {interface.network}", "correct image_node_gateway or the prefix length"
                )


def network_of(node: CardNode) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """The network the node's address is in."""
    return ipaddress.ip_interface(f"{node.address}/{node.prefix_length}").network


def parse_nodes(given: Sequence[Mapping[str, Any]]) -> tuple[CardNode, ...]:
    """Checked nodes; BadInputError where there is none, or two share a name, an address or a MAC address."""
    nodes = tuple(CardNode.parse(one) for one in given)
    if not nodes:
        raise BadInputError("the inventory has no host in group nodes", "list the boards under nodes")
    for label in ("name", "address", "mac"):
        seen: dict[str, str] = {}
        for node in nodes:
            value = getattr(node, label)
            if value and value in seen:
                raise BadInputError(
                    f"{seen[value]} and {node.name} have one {label}: {value}", f"give each node its own {label}"
                )
            seen[value] = node.name
    return nodes
