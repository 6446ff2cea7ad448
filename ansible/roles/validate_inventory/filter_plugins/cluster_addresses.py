"""The address of each node of an inventory: what the others reach it by, whatever the inventory calls it."""

from __future__ import annotations

import functools
import ipaddress
import socket
import subprocess
from collections.abc import Iterable, Mapping
from typing import Any

LIMIT_SECONDS = 20


def cluster_addresses(hosts: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Address by host: node_address, else ansible_host, else the host's name; names are looked up.

    A name that has no IPv4 address stays as it is. A host that is this machine has the address that the others reach.
    """
    said = {host: _said(host, hostvars[host]) for host in hosts}
    found = {host: given if is_address(given) else address_of(given) or given for host, given in said.items()}
    others = [each for each in found.values() if is_address(each) and not ipaddress.ip_address(each).is_loopback]
    for host, each in found.items():
        loopback = is_address(each) and ipaddress.ip_address(each).is_loopback
        local = _connection(hostvars[host]) == "local" and not is_address(each)
        if others and not is_address(said[host]) and (loopback or local):
            found[host] = own_address(others[0])
    return found


def _said(host: str, variables: Mapping[str, Any]) -> str:
    for name in ("node_address", "ansible_host", "ansible_ssh_host"):
        if variables.get(name):
            return str(variables[name])
    return host


def _connection(variables: Mapping[str, Any]) -> str:
    return str(variables.get("ansible_connection") or "ssh").rpartition(".")[2]


def is_address(text: str) -> bool:
    """Whether it is an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


@functools.lru_cache(maxsize=1024)
def address_of(name: str) -> str:
    """The IPv4 address of a name, or of what ~/.ssh/config makes of it; empty where it has none."""
    host = name
    try:
        asked = ["ssh", "-G", "--", name]
        said = subprocess.run(asked, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=True).stdout
        host = next(line.split()[1] for line in said.splitlines() if line.startswith("hostname "))
    except (OSError, subprocess.SubprocessError, StopIteration):
        pass
    try:
        return str(socket.getaddrinfo(host, None, socket.AF_INET, socket.SOCK_STREAM)[0][4][0])
    except (OSError, UnicodeError):
        return ""


def own_address(peer: str) -> str:
    """This machine's address on the way to another; nothing is sent."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((peer, 9))
            return str(probe.getsockname()[0])
    except OSError:
        return "127.0.0.1"


class FilterModule:
    """Ansible's way to find the filters."""

    def filters(self) -> dict[str, Any]:
        """Filters by name."""
        return {"cluster_addresses": cluster_addresses}
