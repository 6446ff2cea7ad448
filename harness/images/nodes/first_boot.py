"""The first-boot files that make an image one node's, as text."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

from harness.images.nodes import wifi
from harness.images.nodes.card_node import CardNode

HOST_KEY = "/etc/ssh/harness_host_ed25519_key"
SSHD_DROP_IN = "/etc/ssh/sshd_config.d/10-harness.conf"
# One key, named so that no first-boot script that renews `ssh_host_*` touches it: the key that known_hosts pins.
SSHD_CONFIG = f"HostKey {HOST_KEY}\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin no\n"


def cloud_init(node: CardNode, instance: str, *, rpios: bool) -> dict[str, str]:
    """The NoCloud files of a node by name. JSON is YAML, so nothing needs quoting; `instance` tells first boots apart.

    Raspberry Pi OS renames its own first user and starts its SSH server where asked; on Debian the number of the user is
    fixed, since it owns what is baked into the image.
    """
    own: dict[str, Any] = {"enable_ssh": True} if rpios else {}
    if node.wifi:
        joins = ["sh", "-c", wifi.UNBLOCK] if rpios else ["systemctl", "enable", "--now", wifi.SUPPLICANT_SERVICE]
        own["runcmd"] = [joins]
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
        "network-config": _json(network_config(node, netplan=rpios)),
    }


def network_config(node: CardNode, *, netplan: bool = False) -> dict[str, Any]:
    """The node's interfaces in cloud-init's version 2: only with netplan does it pass on what a radio needs."""
    addresses: dict[str, Any] = {"dhcp4": node.dhcp}
    if not node.dhcp:
        addresses["addresses"] = [f"{node.address}/{node.prefix_length}"]
        if node.gateway:
            addresses["routes"] = [{"to": "0.0.0.0/0", "via": node.gateway}]
        if node.nameservers:
            addresses["nameservers"] = {"addresses": list(node.nameservers)}
    if node.wifi is None:
        return {"version": 2, "ethernets": {"eth0": {**addresses, "optional": True}}}
    wired = {"eth0": {"dhcp4": True, "optional": True}}
    return {"version": 2, "ethernets": wired, **({"wifis": wifi.netplan(node.wifi, addresses)} if netplan else {})}


def networkd(node: CardNode) -> str:
    """The node's radio as systemd-networkd has it; a moment without the access point keeps its addresses."""
    lines = [
        "[Match]",
        f"Name={wifi.INTERFACE}",
        "",
        "[Link]",
        "RequiredForOnline=no",
        "",
        "[Network]",
        "IgnoreCarrierLoss=10s",
    ]
    if node.dhcp:
        lines.append("DHCP=ipv4")
    else:
        lines.append(f"Address={node.address}/{node.prefix_length}")
        lines += [f"Gateway={node.gateway}"] if node.gateway else []
        lines += [f"DNS={server}" for server in node.nameservers]
    return "\n".join([*lines, ""])


def network_manager(node: CardNode) -> str:
    """The node's interface, wired or not, as a NetworkManager key file."""
    wired = ["[connection]", "id=harness-wired", "type=ethernet", "autoconnect-priority=10", ""]
    lines = [*(wifi.network_manager_sections(node.wifi) if node.wifi else wired), "[ipv4]"]
    if node.dhcp:
        lines.append("method=auto")
    else:
        address = f"{node.address}/{node.prefix_length}"
        lines += ["method=manual", f"address1={address}{',' + node.gateway if node.gateway else ''}"]
        if node.nameservers:
            lines.append(f"dns={';'.join(node.nameservers)};")
    return "\n".join([*lines, "", "[ipv6]", "method=auto", ""])


def firstrun(node: CardNode, boot_mount: str) -> str:
    """The script Raspberry Pi OS Bookworm runs once at first boot, as its Imager writes one; it removes itself."""
    custom = "/usr/lib/raspberrypi-sys-mods/imager_custom"
    keys = "\n".join(node.authorized_keys)
    connection = "/etc/NetworkManager/system-connections/harness-wired.nmconnection"
    # A radio's connection is on the card already: its key would be readable in this script.
    wired = [f"install -m 0600 /dev/stdin {connection} <<'HARNESS'", network_manager(node) + "HARNESS"]
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
            *([f"( {wifi.UNBLOCK} ) || true"] if node.wifi else wired),
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


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, sort_keys=True) + "\n"
