"""The node's radios: what `iw` and the kernel say of their signal and bit rate."""

from __future__ import annotations

import contextlib
import fcntl
import re
import shutil
import socket
import struct
import subprocess
from pathlib import Path

from ..files import Json, read_text

INTERFACES = Path("/sys/class/net")
TABLE = "/proc/net/wireless"
LIMIT_SECONDS = 2.0
"""For `iw`: what it is asked for between two beats must not take long."""
_SIOCGIFADDR = 0x8915
_NAME_BYTES = 16
# Where `iw` lies, which is on no ordinary user's path.
_TOOLS = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
_SIGNAL = re.compile(r"^\s*signal:\s*(-?\d+(?:\.\d+)?)\s*dBm", re.MULTILINE)
_BIT_RATE = re.compile(r"^\s*tx bitrate:\s*(\d+(?:\.\d+)?)\s*MBit/s", re.MULTILINE)
_POWER_SAVING = re.compile(r"^\s*Power save:\s*(on|off)\s*$", re.MULTILINE)


def wireless() -> list[Json]:
    """Each radio that is an interface: its address, whether it saves power, and what `signal_of` says.

    What nobody says is None: without `iw` there is no bit rate, and nothing is known of power saving.
    """
    return [
        {
            "interface": name,
            "address": _address(name),
            "power_saving": read_power_saving(_said(name, "get", "power_save")),
            **signal_of(name),
        }
        for name in radios()
    ]


def joined() -> Json:
    """What `signal_of` says of the first radio that has joined a network; None of what is not known."""
    found = [each for each in map(signal_of, radios()) if each["signal_dbm"] is not None]
    return found[0] if found else {"signal_dbm": None, "bit_rate_mbit": None}


def radios() -> list[str]:
    """The interfaces that are radios, by name."""
    return sorted(path.parent.name for path in INTERFACES.glob("*/phy80211"))


def signal_of(name: str) -> Json:
    """A radio's signal in dBm and the bit rate at which it sends in Mbit/s; None where it has joined no network."""
    signal, bit_rate = read_link(_said(name, "link"))
    if signal is None:
        signal = read_levels(read_text(TABLE) or "").get(name)
    return {"signal_dbm": signal, "bit_rate_mbit": bit_rate}


def _said(name: str, *words: str) -> str:
    """What `iw` prints of an interface; nothing where it is not there, or takes too long."""
    iw = shutil.which("iw", path=_TOOLS)
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        if iw:
            command = [iw, "dev", name, *words]
            return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False).stdout
    return ""


def read_link(text: str) -> tuple[float | None, float | None]:
    """Signal (dBm) and bit rate of sending (Mbit/s) in what `iw dev INTERFACE link` prints; None of what is not there."""
    signal, bit_rate = _SIGNAL.search(text), _BIT_RATE.search(text)
    return (float(signal[1]) if signal else None, float(bit_rate[1]) if bit_rate else None)


def read_power_saving(text: str) -> bool | None:
    """Whether power saving is on in what `iw dev INTERFACE get power_save` prints; None where it does not say it."""
    found = _POWER_SAVING.search(text)
    return found[1] == "on" if found else None


def read_levels(text: str) -> dict[str, float]:
    """By interface the level in dBm of /proc/net/wireless, of those that have joined a network.

    The kernel prints 0 or -256 where there is no network. Source: net/wireless/wext-proc.c.
    """
    levels: dict[str, float] = {}
    for line in text.splitlines()[2:]:
        name, colon, rest = line.partition(":")
        fields = rest.split()
        if colon and len(fields) > 2 and re.fullmatch(r"-?\d+\.?", fields[2]):
            level = float(fields[2])
            if -200 < level < 0:
                levels[name.strip()] = level
    return levels


def _address(name: str) -> str | None:
    """The interface's IPv4 address, None where it has none."""
    request = struct.pack(f"{_NAME_BYTES}s240x", name.encode()[: _NAME_BYTES - 1])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        try:
            return socket.inet_ntoa(fcntl.ioctl(asked.fileno(), _SIOCGIFADDR, request)[20:24])
        except OSError:
            return None
