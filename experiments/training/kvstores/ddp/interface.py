"""The network interface that has an address; gloo is told names."""

from __future__ import annotations

import array
import fcntl
import ipaddress
import socket
import struct

from ...errors import ProgramError

_SIOCGIFADDR = 0x8915


def interface_of(address: str) -> str:
    """Name of the network interface that has this IPv4 address. Raises ProgramError."""
    if ipaddress.ip_address(address).is_loopback:
        return "lo"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for _, name in socket.if_nameindex():
            request = array.array("B", struct.pack("256s", name.encode()))
            try:
                fcntl.ioctl(any_socket, _SIOCGIFADDR, request)
            except OSError:  # it has no IPv4 address
                continue
            if socket.inet_ntoa(request[20:24].tobytes()) == address:
                return name
    raise ProgramError(f"no network interface has the address {address}", "look at ansible_host in the inventory")
