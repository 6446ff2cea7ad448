"""Cards that join a Wi-Fi: what is in the image, who may read it there, and that the key is in no log."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import image_cards as cards
import pytest

from harness.images import card, host

pytestmark = cards.need_tools

KEY, SSID = "an unlikely passphrase", "lab network"
DEBIAN = {"etc/os-release": "ID=debian\n", "etc/ssh/sshd_config.d/.keep": "", "usr/sbin/wpa_supplicant": ""}


@pytest.fixture(scope="module")
def bookworm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cards.make_rpios(tmp_path_factory.mktemp("bookworm"), cards.BOOKWORM)


def make(tmp_path: Path, image: Path, *, rpios: bool = True, **network: str) -> tuple[int, dict[str, Any], str]:
    file = tmp_path / "wifi_key"
    file.write_text(KEY, encoding="utf-8")
    wifi = {"country": "DE", "ssid": SSID, "key_file": str(file), **network}
    given = {"node": {**cards.NODE, "wifi": wifi}, "base": str(image), "rpios": rpios, "output": str(tmp_path)}
    return cards.step("node", {**given, "keys": str(tmp_path / "keys")})


def mode(opened: card.Card, path: str) -> str:
    said = host.run(["debugfs", "-R", f"stat {path}", opened.ext4], limit_seconds=60).decode()
    return next(word for word in said.split("Mode:")[1].split() if word.isdigit())


def test_bookworm_has_a_key_file_that_only_root_reads(tmp_path: Path, bookworm: Path) -> None:
    code, result, said = make(tmp_path, bookworm)
    assert (code, said) == (0, "")
    opened = cards.check_identity(tmp_path / "pi01.img", result["known_hosts"].split(" ", 1)[1])
    path = "/etc/NetworkManager/system-connections/harness-wifi.nmconnection"
    text = (card.ext_read(opened, path) or b"").decode()
    assert "type=wifi" in text
    assert "address1=10.0.0.1/24,10.0.0.254" in text
    assert KEY not in text
    assert mode(opened, path) == "0600"
    psk = text.split("psk=")[1].split("\n")[0]
    assert len(psk) == 64
    cmdline = (card.fat_read(opened, "cmdline.txt") or b"").decode()
    assert cmdline.index("cfg80211.ieee80211_regdom=DE") < cmdline.index("systemd.run=")  # which the first run cuts off
    assert psk not in (card.fat_read(opened, "firstrun.sh") or b"").decode()
    record = (tmp_path / "pi01.json").read_text(encoding="utf-8")
    assert psk not in record
    assert KEY not in record


def test_the_image_is_made_again_when_the_key_changes_and_not_before(tmp_path: Path, bookworm: Path) -> None:
    assert make(tmp_path, bookworm)[1]["changed"]
    assert not make(tmp_path, bookworm)[1]["changed"]
    other = tmp_path / "other"
    other.write_text(KEY + "!", encoding="utf-8")
    assert make(tmp_path, bookworm, key_file=str(other))[1]["changed"]


def test_trixie_gets_netplan_by_cloud_init(tmp_path: Path) -> None:
    code, _, said = make(tmp_path, cards.make_rpios(tmp_path / "trixie", cards.TRIXIE))
    assert (code, said) == (0, "")
    opened = card.open_card(tmp_path / "pi01.img")
    network = json.loads(card.fat_read(opened, "network-config") or b"")
    assert list(network["wifis"]["wlan0"]["access-points"]) == [SSID]
    assert b"cfg80211.ieee80211_regdom=DE" in (card.fat_read(opened, "cmdline.txt") or b"")


def test_debian_gets_wpa_supplicant_and_a_base_without_it_is_refused(tmp_path: Path) -> None:
    code, _, said = make(tmp_path, cards.make_rpios(tmp_path / "debian", DEBIAN), rpios=False)
    assert (code, said) == (0, "")
    opened = card.open_card(tmp_path / "pi01.img")
    path = "/etc/wpa_supplicant/wpa_supplicant-wlan0.conf"
    assert b"country=DE" in (card.ext_read(opened, path) or b"")
    assert mode(opened, path) == "0600"
    assert b"Name=wlan0" in (card.ext_read(opened, "/etc/systemd/network/20-harness-wifi.network") or b"")
    assert b"ieee80211_regdom=DE" in (card.ext_read(opened, "/etc/modprobe.d/harness-wifi.conf") or b"")
    host.run(["e2fsck", "-fn", opened.ext4], limit_seconds=60)
    without = {name: text for name, text in DEBIAN.items() if "wpa" not in name}
    (tmp_path / "pi01.img").unlink()
    code, _, said = make(tmp_path, cards.make_rpios(tmp_path / "without", without), rpios=False)
    assert code == 2
    assert "pi01: the base image has no wpa_supplicant" in said
    assert "wpasupplicant" in said
    assert not (tmp_path / "pi01.img").exists()


def play(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    playbook = shutil.which("ansible-playbook") or str(Path(sys.executable).with_name("ansible-playbook"))
    extra = {"image_tools_output": str(tmp_path / "out"), "image_tools_cache": str(tmp_path / "cache")}
    return subprocess.run(
        [playbook, "-vvv", "-i", tmp_path / "inventory", "ansible/playbooks/image.yml", "-e", json.dumps(extra), *arguments],
        cwd=cards.REPOSITORY, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def test_the_playbook_takes_the_key_from_a_vault_and_no_log_has_it(tmp_path: Path, bookworm: Path) -> None:
    archive, sha256 = cards.pack(bookworm)
    inventory = tmp_path / "inventory"
    (inventory / "group_vars").mkdir(parents=True)
    (inventory / "hosts.yml").write_text(
        "nodes: {hosts: {pi01: {ansible_host: 10.0.0.1}}, vars: {ansible_user: pi, image_node_wifi_ssid: lab,"
        " image_node_wifi_country: DE}}"
    )
    (inventory / "group_vars/nodes.yml").write_text(f"image_node_wifi_key: {KEY}\n")
    password = tmp_path / "password"
    password.write_text("vault password\n")
    vault = shutil.which("ansible-vault") or str(Path(sys.executable).with_name("ansible-vault"))
    encrypt = [vault, "encrypt", "--vault-password-file", password, inventory / "group_vars/nodes.yml"]
    subprocess.run(encrypt, check=True, capture_output=True, timeout=60)
    rpios = {"image_base_os": "rpios", "image_base_rpios_archive": str(archive), "image_base_rpios_sha256": sha256}
    extra = ("--vault-password-file", str(password), "-e", json.dumps({**rpios, "image_verify_by": "none"}))
    checked = play(tmp_path, "--check", *extra)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert not (tmp_path / "out").exists()
    done, again = play(tmp_path, *extra), play(tmp_path, *extra)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "changed=0" in again.stdout, again.stdout
    said = checked.stdout + checked.stderr + done.stdout + done.stderr + again.stdout + again.stderr
    assert KEY not in said
    opened = card.open_card(tmp_path / "out/pi01.img")
    path = "/etc/NetworkManager/system-connections/harness-wifi.nmconnection"
    psk = (card.ext_read(opened, path) or b"").decode().split("psk=")[1].split("\n")[0]
    assert len(psk) == 64
    assert psk not in said
    kept = tmp_path / "out/pi01.wifi_key"
    assert kept.read_text(encoding="utf-8") == KEY
    assert kept.stat().st_mode & 0o077 == 0
