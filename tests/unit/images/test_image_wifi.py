"""What a card has of the Wi-Fi that it joins, for each kind of system; the key itself is nowhere."""

from __future__ import annotations

import configparser
import json
from pathlib import Path
from typing import Any

import pytest

from harness.errors import BadInputError
from harness.images.nodes import first_boot, wifi
from harness.images.nodes.card_node import CardNode

# IEEE 802.11i, annex H.4.2, test vector 1.
SSID, PASSPHRASE = "IEEE", "password"
PSK = "f42c6fc52df0ebef9ebb4b90b38a5f902e83fe1b135a70e23aed762e9710a12e"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAITestKeyOnly somebody"


def node(directory: Path, key: str = PASSPHRASE, **changes: Any) -> CardNode:
    file = directory / "key"
    file.write_text(key + "\n", encoding="utf-8")
    network = {"country": "DE", "ssid": SSID, "key_file": str(file), **changes.pop("wifi", {})}
    given = {"name": "pi01", "address": "10.0.0.1", "user": "pi", "authorized_keys": [KEY], "wifi": network, **changes}
    return CardNode.parse(given)


def test_the_key_is_derived_as_the_standard_says_and_shown_nowhere(tmp_path: Path) -> None:
    one = node(tmp_path)
    assert one.wifi
    assert one.wifi.psk == PSK
    assert PSK not in repr(one)
    assert PASSPHRASE not in repr(one)
    assert node(tmp_path, key=PSK.upper()).wifi == one.wifi


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"wifi": {"country": "Germany"}}, "no country of a Wi-Fi"),
        ({"wifi": {"country": ""}}, "no country of a Wi-Fi"),
        ({"wifi": {"ssid": ""}}, "no name of a Wi-Fi"),
        ({"wifi": {"ssid": "x" * 33}}, "no name of a Wi-Fi"),
        ({"wifi": {"ssid": "a\nb"}}, "no name of a Wi-Fi"),
        ({"wifi": {"key_file": ""}}, "no key for the Wi-Fi"),
        ({"wifi": {"key_file": "/no/file"}}, "cannot read the Wi-Fi's key in /no/file"),
        ({"key": "2short7"}, "neither 8 to 63 ASCII characters"),
        ({"key": "pässword"}, "neither 8 to 63 ASCII characters"),
    ],
)
def test_a_network_that_cannot_be_is_refused_and_the_key_not_told(
    changes: dict[str, Any], says: str, tmp_path: Path
) -> None:
    with pytest.raises(BadInputError, match=says) as refused:
        node(tmp_path, **changes)
    assert refused.value.message.startswith("pi01:")
    assert "image_node_wifi" in refused.value.remedy
    assert changes.get("key", PASSPHRASE) not in refused.value.message + refused.value.remedy


def test_networkmanager_gets_a_key_file_with_power_saving_off(tmp_path: Path) -> None:
    found = configparser.ConfigParser()
    found.read_string(first_boot.network_manager(node(tmp_path, gateway="10.0.0.254")))
    assert (found["connection"]["type"], found["connection"]["interface-name"]) == ("wifi", "wlan0")
    assert bytes(map(int, found["wifi"]["ssid"].rstrip(";").split(";"))).decode() == SSID
    assert found["wifi"]["powersave"] == "2"
    assert dict(found["wifi-security"]) == {"key-mgmt": "wpa-psk", "psk": PSK}
    assert found["ipv4"]["address1"] == "10.0.0.1/24,10.0.0.254"


def test_the_first_run_has_no_key_and_lets_the_radio_send(tmp_path: Path) -> None:
    script = first_boot.firstrun(node(tmp_path), "/boot/firmware")
    assert PSK not in script
    assert "harness-wired" not in script
    assert "rfkill unblock wifi" in script


def test_cloud_init_with_netplan_gets_the_network_and_a_cable_asks(tmp_path: Path) -> None:
    files = first_boot.cloud_init(node(tmp_path, gateway="10.0.0.254"), "i", rpios=True)
    found = json.loads(files["network-config"])
    radio = found["wifis"]["wlan0"]
    assert radio["access-points"] == {SSID: {"password": PSK}}
    assert (radio["regulatory-domain"], radio["addresses"], radio["optional"]) == ("DE", ["10.0.0.1/24"], True)
    assert found["ethernets"]["eth0"] == {"dhcp4": True, "optional": True}
    assert "rfkill unblock wifi" in files["user-data"]
    assert PSK not in files["user-data"] + files["meta-data"]


def test_debian_joins_by_wpa_supplicant_and_networkd(tmp_path: Path) -> None:
    one = node(tmp_path, gateway="10.0.0.254", nameservers=["10.0.0.253"])
    assert one.wifi
    files = first_boot.cloud_init(one, "i", rpios=False)
    assert "wifis" not in json.loads(files["network-config"])
    assert json.loads(files["user-data"].split("\n", 1)[1])["runcmd"] == [
        ["systemctl", "enable", "--now", "wpa_supplicant@wlan0.service"]
    ]
    assert PSK not in "".join(files.values())
    assert wifi.supplicant(one.wifi) == (
        f"country=DE\nnetwork={{\n\tssid={SSID.encode().hex()}\n\tpsk={PSK}\n\tkey_mgmt=WPA-PSK\n}}\n"
    )
    text = first_boot.networkd(one)
    assert "Address=10.0.0.1/24\nGateway=10.0.0.254\nDNS=10.0.0.253\n" in text
    assert wifi.module_options(one.wifi) == "options cfg80211 ieee80211_regdom=DE\n"


def test_the_country_is_said_once_on_the_kernels_command_line(tmp_path: Path) -> None:
    one = node(tmp_path)
    assert one.wifi
    before = "console=tty1 cfg80211.ieee80211_regdom=GB root=x"
    assert wifi.with_country(before, one.wifi) == "console=tty1 root=x cfg80211.ieee80211_regdom=DE"


def test_a_card_without_a_network_is_as_before() -> None:
    one = CardNode.parse({"name": "pi01", "address": "10.0.0.1", "user": "pi", "authorized_keys": [KEY], "wifi": {}})
    assert one.wifi is None
    assert "runcmd" not in first_boot.cloud_init(one, "i", rpios=False)["user-data"]
