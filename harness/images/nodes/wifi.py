"""The Wi-Fi that a card joins, and its settings as text for each kind of system."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import BadInputError

INTERFACE = "wlan0"
SUPPLICANT = "/usr/sbin/wpa_supplicant"
SUPPLICANT_SERVICE = f"wpa_supplicant@{INTERFACE}.service"
SUPPLICANT_FILE = f"/etc/wpa_supplicant/wpa_supplicant-{INTERFACE}.conf"
KEY_FILE = "/etc/NetworkManager/system-connections/harness-wifi.nmconnection"
NETWORKD_FILE = "/etc/systemd/network/20-harness-wifi.network"
MODULE_FILE = "/etc/modprobe.d/harness-wifi.conf"
PACKAGES = ("wpasupplicant", "wireless-regdb", "iw", "firmware-brcm80211")
"""What the Debian base needs besides."""
# What Raspberry Pi OS does where its Imager is told a country: until then its radio is blocked.
UNBLOCK = (
    'rfkill unblock wifi; for file in /var/lib/systemd/rfkill/*:wlan; do [ ! -e "$file" ] || echo 0 > "$file"; done'
)

_COUNTRY = re.compile(r"[A-Z]{2}")
_PASSPHRASE = re.compile(r"[\x20-\x7e]{8,63}")
_PSK = re.compile(r"[0-9a-f]{64}")
_ROUNDS, _KEY_BYTES = 4096, 32  # IEEE 802.11i, annex H.4

Refuse = Callable[[str, str], BadInputError]


@dataclass(frozen=True)
class Wifi:
    """A network with WPA2. `country` has two capital letters, `psk` is the pre-shared key in 64 hexadecimal digits."""

    country: str
    ssid: str
    psk: str = field(repr=False)

    @classmethod
    def parse(cls, given: Mapping[str, Any], refuse: Refuse) -> Wifi | None:
        """The network of `country`, `ssid` and `key_file`; None where none of them is given.

        The file has the passphrase of 8 to 63 characters, or the key in 64 hexadecimal digits. Raises what `refuse` makes of a
        problem and a remedy; the key is in no error.
        """
        country, ssid, file = (str(given.get(name) or "") for name in ("country", "ssid", "key_file"))
        if not (country or ssid or file):
            return None
        if not _COUNTRY.fullmatch(country):
            raise refuse(
                f"{country!r} is no country of a Wi-Fi",
                "set image_node_wifi_country to two capital letters, such as DE",
            )
        if not 1 <= len(ssid.encode()) <= 32 or not ssid.isprintable():
            raise refuse(f"{ssid!r} is no name of a Wi-Fi", "set image_node_wifi_ssid to one of 1 to 32 bytes")
        if not file:
            raise refuse(
                f"no key for the Wi-Fi {ssid}",
                "set image_node_wifi_key in a vault, or image_node_wifi_key_file to a file",
            )
        return cls(country, ssid, derived_key(_read_key(Path(file).expanduser(), refuse), ssid, refuse))


def _read_key(file: Path, refuse: Refuse) -> str:
    try:
        return file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise refuse(
            f"cannot read the Wi-Fi's key in {file}: {type(error).__name__}",
            "set image_node_wifi_key_file to a text file with the key alone",
        ) from None


def derived_key(key: str, ssid: str, refuse: Refuse) -> str:
    """The pre-shared key of a passphrase, 64 hexadecimal digits: cards do not have the passphrase itself."""
    if _PSK.fullmatch(key.lower()):
        return key.lower()
    if not _PASSPHRASE.fullmatch(key):
        raise refuse(
            f"the key of the Wi-Fi {ssid} has neither 8 to 63 ASCII characters nor 64 hexadecimal digits",
            "write it into image_node_wifi_key or image_node_wifi_key_file as the access point has it",
        )
    return hashlib.pbkdf2_hmac("sha1", key.encode(), ssid.encode(), _ROUNDS, _KEY_BYTES).hex()


def with_country(cmdline: str, wifi: Wifi) -> str:
    """A kernel command line (one line) that says in which country the radio is."""
    name = "cfg80211.ieee80211_regdom="
    return " ".join([*(word for word in cmdline.split() if not word.startswith(name)), f"{name}{wifi.country}"])


def module_options(wifi: Wifi) -> str:
    """The same for the kernel module, where the system writes its own kernel command line."""
    return f"options cfg80211 ieee80211_regdom={wifi.country}\n"


def network_manager_sections(wifi: Wifi) -> list[str]:
    """What a NetworkManager key file of the network has besides addresses. Power saving is off."""
    return [
        "[connection]", "id=harness-wifi", "type=wifi", f"interface-name={INTERFACE}", "autoconnect-priority=10", "",
        "[wifi]", "mode=infrastructure", f"ssid={''.join(f'{byte};' for byte in wifi.ssid.encode())}", "powersave=2", "",
        "[wifi-security]", "key-mgmt=wpa-psk", f"psk={wifi.psk}", "",
    ]  # fmt: skip


def netplan(wifi: Wifi, addresses: Mapping[str, Any]) -> dict[str, Any]:
    """The `wifis` of a network-config that netplan renders; the interface has these addresses."""
    network = {"regulatory-domain": wifi.country, "access-points": {wifi.ssid: {"password": wifi.psk}}}
    return {INTERFACE: {**addresses, "optional": True, **network}}


def supplicant(wifi: Wifi) -> str:
    """The configuration of wpa_supplicant."""
    ssid = wifi.ssid.encode().hex()
    return f"country={wifi.country}\nnetwork={{\n\tssid={ssid}\n\tpsk={wifi.psk}\n\tkey_mgmt=WPA-PSK\n}}\n"
