"""From what Ansible says of hosts to logins and addresses: aliases and names become addresses here, once."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Container, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.errors import BadInputError
from harness.nodes.connection.login import Login, read_login
from harness.nodes.connection.names import CONNECTION, LOGIN, is_ssh
from harness.system.addresses import own_address

_AT_ONCE = 16
_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252}[A-Za-z0-9_.])?")


def reached(variables: Mapping[str, Mapping[str, Any]], directory: Path) -> dict[str, dict[str, Any]]:
    """The variables of hosts with their logins, and with addresses for names.

    `directory` has the pinned host keys. Raises BadInputError where ssh refuses what it is told, or a name has no address.
    """
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = dict(
            zip(variables, pool.map(lambda name: _reached(name, variables[name], directory), variables), strict=True)
        )
    addressed = {name for name, each in variables.items() if is_address(_address(each))}
    return _with_own_address(found, addressed)


def _reached(name: str, variables: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    """One host's variables with what OpenSSH makes of them."""
    said = variables.get(CONNECTION)
    if not isinstance(said, Mapping):
        return _named(name, dict(variables), str(variables.get("ansible_host") or ""))
    try:
        login = read_login(
            said["command"],
            str(variables.get("ansible_host") or name),
            password=said["password"],
            attempts=said["attempts"],
            connect_seconds=float(said["timeout"]),
        )
    except BadInputError as error:
        raise BadInputError(f"host {name}: {error.message}", error.remedy) from None
    found = {
        **{key: value for key, value in variables.items() if key != CONNECTION},
        "ansible_host": login.target,
        "ansible_user": login.user,
        "ansible_port": login.port,
    }
    if str(variables.get("ansible_python_interpreter", "")).startswith("auto"):
        found["ansible_python_interpreter"] = list(said["pythons"])
    found = _named(name, found, login.host)
    address = None if login.proxy or "node_address" in variables else found["ansible_host"]
    return {**found, LOGIN: _believing(replace(login, address=address), variables, directory)}


def _believing(login: Login, variables: Mapping[str, Any], directory: Path) -> Login:
    """The login with the inventory's own host keys: those it names and no others, or those beside it and the user's."""
    named = variables.get("cluster_known_hosts")
    if named:
        return replace(login, known_hosts=(str(directory / Path(str(named)).expanduser()),), checking="yes")
    beside = directory / "known_hosts"
    return replace(login, known_hosts=(str(beside), *login.known_hosts)) if beside.exists() else login


def _named(name: str, variables: dict[str, Any], host: str) -> dict[str, Any]:
    """The variables with an address as `ansible_host`, where it is a name."""
    given = str(variables.get("ansible_host") or "")
    if not given or "node_address" in variables or is_address(given):
        return variables
    if is_address(host):
        return {**variables, "ansible_host": host}
    if not _NAME.fullmatch(host):
        raise BadInputError(
            f"host {name}: ansible_host '{host[:200]}' is no name and no IP address", "write its IP address"
        )
    try:
        found = socket.getaddrinfo(host, None, socket.AF_INET, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise BadInputError(
            f"host {name}: {host} has no IPv4 address: {error}",
            "write its address into ansible_host, or into node_address where only the other nodes reach it",
        ) from None
    return {**variables, "ansible_host": str(found[0][4][0])}


def _with_own_address(hosts: dict[str, dict[str, Any]], addressed: Container[str]) -> dict[str, dict[str, Any]]:
    """A host that is this machine, and whose name leads no further than to itself, gets the address that others reach.

    Those in `addressed` have an address of the user's, which stays.

    Debian gives a machine's own name 127.0.1.1; a board that is controller and node at once has the local connection.
    """
    others = [address for each in hosts.values() if is_address(address := _address(each)) and not _is_loopback(address)]
    own = own_address(others[0]) if others else "127.0.0.1"

    def is_own(each: Mapping[str, Any]) -> bool:
        given = _address(each)
        return bool(others) and _is_loopback(given) if given else not is_ssh(each.get("ansible_connection", "ssh"))

    return {
        name: {**each, "ansible_host": own} if name not in addressed and is_own(each) else each
        for name, each in hosts.items()
    }


def _address(variables: Mapping[str, Any]) -> str:
    return str(variables.get("node_address") or variables.get("ansible_host") or "")


def _is_loopback(text: str) -> bool:
    return is_address(text) and ipaddress.ip_address(text).is_loopback


def is_address(text: str) -> bool:
    """Whether it is an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
