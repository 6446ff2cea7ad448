import json
from typing import Any

import pytest

from harness.errors import BadInputError
from harness.images.nodes import first_boot
from harness.images.nodes.card_node import CardNode, parse_nodes
from harness.images.nodes.known_hosts import dhcp_reservations, known_hosts_line, merge_known_hosts

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAITestKeyOnly somebody"


def given(**changes: Any) -> dict[str, Any]:
    return {"name": "pi01", "address": "10.0.0.1", "user": "pi", "authorized_keys": [KEY], **changes}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": "Pi 1"}, "no host name"),
        ({"name": ""}, "without a name"),
        ({"address": "pi01.local"}, "no IP address"),
        ({"address": ""}, "no IP address"),
        ({"address": "127.0.0.1"}, "loopback"),
        ({"prefix_length": 99}, "no IP address"),
        ({"authorized_keys": []}, "no SSH key"),
        ({"authorized_keys": ["-----BEGIN OPENSSH PRIVATE KEY-----"]}, "no public SSH key"),
        ({"user": "root"}, "cannot be the node's user"),
        ({"user": "a b"}, "cannot be the node's user"),
        ({"mac": "b8:27:eb"}, "no MAC address"),
        ({"dhcp": True}, "needs the board's MAC"),
        ({"gateway": "192.168.7.1"}, "outside 10.0.0.0/24"),
        ({"gateway": "router"}, "no IP address"),
        ({"nameservers": ["dns"]}, "no IP address"),
        ({"timezone": "Etc/UTC; reboot"}, "no time zone"),
        ({"locale": "C UTF"}, "no locale"),
    ],
)
def test_a_node_that_cannot_be_is_refused_with_its_name(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(BadInputError, match=says) as refused:
        CardNode.parse(given(**changes))
    assert refused.value.remedy
    if changes.get("name", "pi01") == "pi01":
        assert refused.value.message.startswith("pi01:")


@pytest.mark.parametrize(
    ("second", "label"),
    [
        ({"address": "10.0.0.2"}, "name"),
        ({"name": "pi02"}, "address"),
        ({"name": "pi02", "address": "10.0.0.2", "mac": "B8:27:EB:00:00:01"}, "mac"),
    ],
)
def test_two_nodes_cannot_share_what_tells_them_apart(second: dict[str, Any], label: str) -> None:
    first = given(mac="b8:27:eb:00:00:01")
    with pytest.raises(BadInputError, match=f"have one {label}"):
        parse_nodes([first, given(**second)])


def test_no_nodes_at_all_is_an_error() -> None:
    with pytest.raises(BadInputError, match="no host in group nodes"):
        parse_nodes([])


def test_cloud_init_gets_one_user_with_keys_and_no_password() -> None:
    node = CardNode.parse(given(gateway="10.0.0.254", nameservers=["10.0.0.253"]))
    files = first_boot.cloud_init(node, "harness-pi01-1", rpios=False)
    assert files["user-data"].startswith("#cloud-config\n")
    user_data = json.loads(files["user-data"].split("\n", 1)[1])
    (user,) = user_data["users"]
    assert user["ssh_authorized_keys"] == [KEY]
    assert user["lock_passwd"] is True
    assert user["uid"] == 1000
    assert user_data["ssh_pwauth"] is False
    assert user_data["ssh_deletekeys"] is False
    assert json.loads(files["meta-data"]) == {"instance-id": "harness-pi01-1", "local-hostname": "pi01"}
    interface = json.loads(files["network-config"])["ethernets"]["eth0"]
    assert interface["addresses"] == ["10.0.0.1/24"]
    assert interface["routes"] == [{"to": "0.0.0.0/0", "via": "10.0.0.254"}]
    assert interface["optional"] is True


def test_raspberry_pi_os_keeps_the_number_of_its_own_user() -> None:
    files = first_boot.cloud_init(CardNode.parse(given()), "harness-pi01-1", rpios=True)
    user_data = json.loads(files["user-data"].split("\n", 1)[1])
    assert "uid" not in user_data["users"][0]
    assert user_data["enable_ssh"] is True


def test_with_dhcp_the_address_is_left_to_the_reservation() -> None:
    node = CardNode.parse(given(dhcp=True, mac="B8:27:EB:00:00:01"))
    assert "addresses" not in first_boot.network_config(node)["ethernets"]["eth0"]
    assert "method=auto" in first_boot.network_manager(node).split("[ipv6]")[0]
    assert dhcp_reservations([node]) == "dhcp-host=b8:27:eb:00:00:01,10.0.0.1,pi01\n"


def test_bookworms_first_run_quotes_and_removes_itself() -> None:
    node = CardNode.parse(given(authorized_keys=[KEY + "'s $(reboot)"], gateway="10.0.0.254"))
    script = first_boot.firstrun(node, "/boot/firmware")
    assert "userconf pi '*'" in script
    assert """'"'"'s $(reboot)'""" in script
    assert "address1=10.0.0.1/24,10.0.0.254" in script
    assert script.index("rm -f /boot/firmware/firstrun.sh") < script.index("exit 0")


@pytest.mark.parametrize(
    ("cmdline", "wanted", "result"),
    [
        ("root=x rw", True, "console=ttyS1,115200 root=x rw"),
        ("console=serial0,115200 root=x", True, "console=serial0,115200 root=x"),
        ("console=tty0 console=ttyS1,115200 root=x", False, "console=tty0 root=x"),
        ("console=tty1 root=x", False, "console=tty1 root=x"),
    ],
)
def test_serial_console_as_asked_for(cmdline: str, wanted: bool, result: str) -> None:
    assert first_boot.serial_parameters(cmdline, wanted) == result


def test_known_hosts_replaces_a_nodes_old_keys_and_keeps_the_rest() -> None:
    node = CardNode.parse(given())
    line = known_hosts_line(node, "ssh-ed25519 NEW root@pi01")
    assert line == "10.0.0.1,pi01 ssh-ed25519 NEW"
    old = "# ours\n10.0.0.1 ssh-ed25519 OLD\npi01 ssh-rsa OLD\n10.0.0.11 ssh-ed25519 OTHER\n"
    assert merge_known_hosts(old, [line]) == f"# ours\n10.0.0.11 ssh-ed25519 OTHER\n{line}\n"
    assert merge_known_hosts(merge_known_hosts(old, [line]), [line]) == merge_known_hosts(old, [line])
