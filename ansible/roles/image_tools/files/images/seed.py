"""What makes an image one node's: the first-boot files as text. Pure; everything is checked before anything is made."""

from __future__ import annotations

import ipaddress
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import BadInputError

HOST_KEY = "/etc/ssh/harness_host_ed25519_key"
SSHD_DROP_IN = "/etc/ssh/sshd_config.d/10-harness.conf"
# One key, named so that no first-boot script that renews `ssh_host_*` touches it: the key that known_hosts pins.
SSHD_CONFIG = f"HostKey {HOST_KEY}\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin no\n"
HOSTNAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
TIMEZONE = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*")
LOCALE = re.compile(r"[A-Za-z0-9_.@-]+")
PUBLIC_KEY = re.compile(r"(ssh-(ed25519|rsa)|ecdsa-sha2-\S+|sk-\S+@openssh\.com) [A-Za-z0-9+/=]+( .*)?")


@dataclass(frozen=True)
class Node:
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

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> Node:
        """A checked Node from an inventory host's variables; BadInputError names the node and the variable."""
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


def network_of(node: Node) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """The network the node's address is in."""
    return ipaddress.ip_interface(f"{node.address}/{node.prefix_length}").network


def parse_nodes(given: Sequence[Mapping[str, Any]]) -> tuple[Node, ...]:
    """Checked nodes; BadInputError where there is none, or two share a name, an address or a MAC address."""
    nodes = tuple(Node.parse(one) for one in given)
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


def cloud_init(node: Node, instance: str, *, rpios: bool) -> dict[str, str]:
    """The NoCloud files of a node by name. JSON is YAML, so nothing needs quoting; `instance` tells first boots apart.

    Raspberry Pi OS renames its own first user and starts its SSH server where asked; on Debian the number of the user is
    fixed, since it owns what is baked into the image.
    """
    own: dict[str, Any] = {"enable_ssh": True} if rpios else {}
    number = {} if rpios else {"uid": 1000}
    user_data = {
        "hostname": node.name,
        "preserve_hostname": False,
        "manage_etc_hosts": False,
        "users": [
            {
                "name": node.user,
                **number,
                "shell": "/bin/bash",
                "groups": "sudo",
                "sudo": "ALL=(ALL) NOPASSWD:ALL",
                "lock_passwd": True,
                "ssh_authorized_keys": list(node.authorized_keys),
            }
        ],
        "ssh_pwauth": False,
        "disable_root": True,
        "ssh_deletekeys": False,
        "ssh_genkeytypes": [],
        "timezone": node.timezone,
        "locale": node.locale,
        "growpart": {"mode": "auto", "devices": ["/"]},
        "resize_rootfs": True,
        "apt": {"preserve_sources_list": True},
        **own,
    }
    return {
        "user-data": "#cloud-config\n" + _json(user_data),
        "meta-data": _json({"instance-id": instance, "local-hostname": node.name}),
        "network-config": _json(network_config(node)),
    }


def network_config(node: Node) -> dict[str, Any]:
    """The node's wired interface in cloud-init's version 2."""
    interface: dict[str, Any] = {"optional": True}
    if node.dhcp:
        interface["dhcp4"] = True
    else:
        interface.update(dhcp4=False, addresses=[f"{node.address}/{node.prefix_length}"])
        if node.gateway:
            interface["routes"] = [{"to": "0.0.0.0/0", "via": node.gateway}]
        if node.nameservers:
            interface["nameservers"] = {"addresses": list(node.nameservers)}
    return {"version": 2, "ethernets": {"eth0": interface}}


def network_manager(node: Node) -> str:
    """The node's wired interface as a NetworkManager key file."""
    lines = ["[connection]", "id=harness-wired", "type=ethernet", "autoconnect-priority=10", "", "[ipv4]"]
    if node.dhcp:
        lines.append("method=auto")
    else:
        address = f"{node.address}/{node.prefix_length}"
        lines += ["method=manual", f"address1={address}{',' + node.gateway if node.gateway else ''}"]
        if node.nameservers:
            lines.append(f"dns={';'.join(node.nameservers)};")
    return "\n".join([*lines, "", "[ipv6]", "method=auto", ""])


def firstrun(node: Node, boot_mount: str) -> str:
    """The script Raspberry Pi OS Bookworm runs once at first boot, as its Imager writes one; it removes itself."""
    custom = "/usr/lib/raspberrypi-sys-mods/imager_custom"
    keys = "\n".join(node.authorized_keys)
    connection = "/etc/NetworkManager/system-connections/harness-wired.nmconnection"
    return "\n".join(
        [
            "#!/bin/bash",
            "# Written by the harness's image playbook.",
            "set -e",
            shlex.join(["/usr/lib/userconf-pi/userconf", node.user, "*"]) + "  # a password that matches nothing",
            shlex.join([custom, "set_hostname", node.name]),
            shlex.join([custom, "enable_ssh", "-k", keys]),
            shlex.join([custom, "set_timezone", node.timezone]),
            shlex.join(["raspi-config", "nonint", "do_change_locale", node.locale]) + " || true",
            f"install -m 0600 /dev/stdin {connection} <<'HARNESS'",
            network_manager(node) + "HARNESS",
            f"rm -f {shlex.quote(boot_mount)}/firstrun.sh",
            f"sed -i 's| systemd.run=.*||' {shlex.quote(boot_mount)}/cmdline.txt",
            "exit 0",
            "",
        ]
    )


def firstrun_parameters(boot_mount: str) -> str:
    """Kernel parameters that run the script once and boot again."""
    return f"systemd.run={boot_mount}/firstrun.sh systemd.run_success_action=reboot systemd.unit=kernel-command-line.target"


def serial_parameters(cmdline: str, wanted: bool) -> str:
    """A kernel command line (one line) with the Pi's serial console as asked for."""
    words = cmdline.split()
    serial = [word for word in words if re.fullmatch(r"console=(ttyS\d|ttyAMA\d|serial\d)(,\S*)?", word)]
    if wanted and not serial:
        words.insert(0, "console=ttyS1,115200")
    if not wanted:
        words = [word for word in words if word not in serial]
    return " ".join(words)


def known_hosts_line(node: Node, public_key: str) -> str:
    """The node's line of known_hosts: its address and name, and the first two words of its public key."""
    kind, key = public_key.split()[:2]
    return f"{node.address},{node.name} {kind} {key}"


def merge_known_hosts(existing: str, lines: Sequence[str]) -> str:
    """`existing` with all lines about the same hosts replaced by `lines`; comments and other hosts stay."""
    ours = {name for line in lines for name in line.split()[0].split(",")}
    kept = [line for line in existing.splitlines() if not ours & set((line.split() or [""])[0].split(","))]
    return "\n".join([*kept, *lines]) + "\n"


def dhcp_reservations(nodes: Sequence[Node]) -> str:
    """The nodes that ask for their address, as dnsmasq's `dhcp-host` lines; most routers take the same three values."""
    return "".join(f"dhcp-host={node.mac},{node.address},{node.name}\n" for node in nodes if node.dhcp)


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, sort_keys=True) + "\n"
