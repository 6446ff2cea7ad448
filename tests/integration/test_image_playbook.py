"""The image playbook on small hand-made cards: what it refuses, makes, and leaves as it is."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import image_cards as cards
import pytest

pytestmark = cards.need_tools


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    return cards.pack(cards.make_rpios(tmp_path_factory.mktemp("bookworm"), cards.BOOKWORM))


def play(tmp_path: Path, hosts: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    inventory = tmp_path / "inventory"
    inventory.mkdir(exist_ok=True)
    (inventory / "hosts.yml").write_text(hosts)
    playbook = shutil.which("ansible-playbook") or str(Path(sys.executable).with_name("ansible-playbook"))
    extra = {"image_tools_output": str(tmp_path / "out"), "image_tools_cache": str(tmp_path / "cache")}
    return subprocess.run(
        [playbook, "-i", inventory, "ansible/playbooks/image.yml", "-e", json.dumps(extra), *arguments],
        cwd=cards.REPOSITORY,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize(
    ("hosts", "says"),
    [
        (
            "nodes: {hosts: {pi01: {ansible_host: 10.0.0.1}, pi02: {ansible_host: 10.0.0.1}}, vars: {ansible_user: pi}}",
            "pi01 and pi02 have one address: 10.0.0.1",
        ),
        ("nodes: {hosts: {pi01: {ansible_host: pi01.lan}}, vars: {ansible_user: pi}}", "is no IP address"),
        ("nodes: {hosts: {pi01: {ansible_host: 10.0.0.1}}}", "cannot be the node's user"),
        (
            "nodes: {hosts: {pi01: {ansible_host: 10.0.0.1}}, vars: {ansible_user: pi, ansible_ssh_private_key_file: /no/key}}",
            "/no/key.pub: no such public key",
        ),
    ],
)
def test_the_playbook_refuses_a_wrong_inventory_before_it_builds(hosts: str, says: str, tmp_path: Path) -> None:
    done = play(tmp_path, hosts)
    assert done.returncode != 0
    assert says in done.stdout
    assert not (tmp_path / "cache").exists()
    assert not list((tmp_path / "out").glob("*.img"))


HOSTS = "nodes: {hosts: {pi01: {ansible_host: 10.0.0.1}, pi02: {ansible_host: 10.0.0.2}}, vars: {ansible_user: pi}}"


def test_the_playbook_makes_all_cards_and_pins_them_and_changes_nothing_again(
    tmp_path: Path, packed: tuple[Path, str]
) -> None:
    of_rpios = {
        "image_base_os": "rpios",
        "image_base_rpios_archive": str(packed[0]),
        "image_base_rpios_sha256": packed[1],
    }
    extra = ("-e", json.dumps({**of_rpios, "image_verify_by": "none"}))
    done = play(tmp_path, HOSTS, *extra)
    assert done.returncode == 0, done.stdout + done.stderr
    output = tmp_path / "out"
    assert sorted(path.name for path in output.glob("*.img")) == ["pi01.img", "pi02.img"]
    pins = (output / "known_hosts").read_text()
    assert [line.split()[0] for line in pins.splitlines()] == ["10.0.0.1,pi01", "10.0.0.2,pi02"]
    assert (tmp_path / "inventory/known_hosts").read_text() == pins
    assert output.stat().st_mode & 0o077 == 0
    assert set(json.loads((output / "figures.json").read_text())["node_seconds"]) == {"pi01", "pi02"}
    again = play(tmp_path, HOSTS, *extra)
    assert again.returncode == 0, again.stdout
    assert again.stdout.count("changed=0") == 2, again.stdout


def test_the_playbook_works_from_another_place_and_leaves_the_images_where_it_is_run(
    tmp_path: Path, packed: tuple[Path, str]
) -> None:
    """As an installed package has it: the playbooks are no checkout, and the user's directory is empty."""
    share, here, inventory = tmp_path / "share", tmp_path / "here", tmp_path / "inventory"
    shutil.copytree(cards.REPOSITORY / "ansible", share / "ansible")
    shutil.copyfile(cards.REPOSITORY / "ansible.cfg", share / "ansible.cfg")
    for directory in (here, inventory):
        directory.mkdir()
    (inventory / "hosts.yml").write_text(HOSTS)
    extra = {
        "image_base_os": "rpios",
        "image_base_rpios_archive": str(packed[0]),
        "image_base_rpios_sha256": packed[1],
        "image_tools_cache": str(tmp_path / "cache"),
        "image_verify_by": "none",
    }
    done = subprocess.run(
        [
            *(Path(sys.executable).with_name("ansible-playbook"), "-i", inventory),
            *(share / "ansible/playbooks/image.yml", "-e", json.dumps(extra)),
        ],
        cwd=here,
        env={**os.environ, "ANSIBLE_CONFIG": str(share / "ansible.cfg")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(path.name for path in (here / "build/images").glob("*.img")) == ["pi01.img", "pi02.img"]
    assert not list(share.rglob("*.img"))


def test_check_mode_makes_nothing(tmp_path: Path) -> None:
    done = play(tmp_path, HOSTS, "--check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "cache").exists()
