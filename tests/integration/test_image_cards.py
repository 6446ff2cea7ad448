"""Bases, node images and everything a user can get wrong about them, with the real tools on small hand-made cards."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import image_cards as cards
import pytest
from images import assemble, card, host, rpios

TOOLS = ("sfdisk", "mkfs.vfat", "mkfs.ext4", "mcopy", "debugfs", "xz", "ssh-keygen")
pytestmark = [
    pytest.mark.image,
    pytest.mark.skipif(any(host.find(tool) is None for tool in TOOLS), reason=f"needs {', '.join(TOOLS)}"),
]
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAITestKeyOnly somebody"
NODE = {"name": "pi01", "address": "10.0.0.1", "user": "pi", "authorized_keys": [KEY], "gateway": "10.0.0.254"}


@pytest.fixture(scope="module")
def bookworm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cards.make_rpios(tmp_path_factory.mktemp("bookworm"), cards.BOOKWORM)


@pytest.fixture(scope="module")
def trixie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cards.make_rpios(tmp_path_factory.mktemp("trixie"), cards.TRIXIE)


@pytest.fixture(scope="module")
def packed(bookworm: Path) -> tuple[Path, str]:
    return cards.pack(bookworm)


def base(tmp_path: Path, archive: Path | str, sha256: str) -> tuple[int, dict[str, Any], str]:
    given = {"cache": str(tmp_path / "cache"), "output": str(tmp_path), "archive": str(archive), "sha256": sha256}
    return cards.step("base-rpios", {**given, "baked": []})


def make_node(tmp_path: Path, image: Path, **changes: Any) -> tuple[int, dict[str, Any], str]:
    given = {"node": {**NODE, **changes}, "base": str(image), "rpios": True, "output": str(tmp_path)}
    return cards.step("node", {**given, "keys": str(tmp_path / "keys")})


def test_an_official_image_is_verified_unpacked_and_cached(
    tmp_path: Path, packed: tuple[Path, str], bookworm: Path
) -> None:
    code, result, said = base(tmp_path, *packed)
    assert (code, said) == (0, "")
    assert result["changed"]
    assert host.sha256_file(Path(result["image"])) == host.sha256_file(bookworm)
    code, again, _ = base(tmp_path, *packed)
    assert (code, again["changed"], again["image"]) == (0, False, result["image"])


@pytest.mark.parametrize(
    ("which", "system"),
    [("bookworm", ("firstrun", "12 (bookworm)")), ("trixie", ("cloud-init", "13 (trixie)"))],
)
def test_the_mechanism_is_found_by_looking_into_the_image(
    which: str, system: tuple[str, str], request: pytest.FixtureRequest
) -> None:
    found = rpios.inspect(card.open_card(request.getfixturevalue(which)))
    assert found.mechanism == system[0]
    assert system[1] in found.name
    assert found.boot_mount == "/boot/firmware"


def check_identity(image: Path, key: str) -> card.Card:
    opened = card.open_card(image)
    private = card.ext_read(opened, "/etc/ssh/harness_host_ed25519_key")
    assert private is not None
    assert private.startswith(b"-----BEGIN OPENSSH PRIVATE KEY-----")
    assert card.ext_read(opened, "/etc/ssh/harness_host_ed25519_key.pub") == f"{key} root@pi01\n".encode()
    assert b"PasswordAuthentication no" in (card.ext_read(opened, "/etc/ssh/sshd_config.d/10-harness.conf") or b"")
    host.run(["e2fsck", "-fn", opened.ext4], limit_seconds=60)
    return opened


def test_a_bookworm_card_is_seeded_by_its_first_run(tmp_path: Path, bookworm: Path) -> None:
    code, result, said = make_node(tmp_path, bookworm)
    assert (code, said) == (0, "")
    opened = check_identity(tmp_path / "pi01.img", result["known_hosts"].split(" ", 1)[1])
    cmdline = (card.fat_read(opened, "cmdline.txt") or b"").decode()
    assert "systemd.run=/boot/firmware/firstrun.sh" in cmdline
    assert cmdline.count("\n") == 1
    assert b"set_hostname pi01" in (card.fat_read(opened, "firstrun.sh") or b"")
    assert "user-data" not in card.fat_list(opened)
    assert "ssh" in card.fat_list(opened)
    script = tmp_path / "firstrun.sh"
    script.write_bytes(card.fat_read(opened, "firstrun.sh") or b"")
    subprocess.run(["bash", "-n", script], check=True, timeout=20)


def test_a_trixie_card_is_seeded_by_cloud_init(tmp_path: Path, trixie: Path) -> None:
    code, result, said = make_node(tmp_path, trixie)
    assert (code, said) == (0, "")
    opened = check_identity(tmp_path / "pi01.img", result["known_hosts"].split(" ", 1)[1])
    user_data = (card.fat_read(opened, "user-data") or b"").decode()
    assert json.loads(user_data.split("\n", 1)[1])["hostname"] == "pi01"
    assert "firstrun.sh" not in card.fat_list(opened)
    assert b"systemd.run" not in (card.fat_read(opened, "cmdline.txt") or b"")


def test_a_node_image_is_made_once_and_anew_when_its_node_changes(tmp_path: Path, bookworm: Path) -> None:
    first, second = make_node(tmp_path, bookworm)[1], make_node(tmp_path, bookworm)[1]
    assert (first["changed"], second["changed"]) == (True, False)
    changed = make_node(tmp_path, bookworm, address="10.0.0.2")[1]
    assert changed["changed"]
    assert changed["known_hosts"].split()[2] == first["known_hosts"].split()[2], "the host key must stay pinned"
    assert (tmp_path / "keys/pi01/ssh_host_ed25519_key").stat().st_mode & 0o077 == 0


def test_a_wrong_checksum_is_refused_and_nothing_is_left(tmp_path: Path, packed: tuple[Path, str]) -> None:
    code, _, said = base(tmp_path, packed[0], "0" * 64)
    assert code == 2
    assert f"has SHA-256 {packed[1]}, expected {'0' * 64}" in said
    assert cards.leftovers(tmp_path / "cache") == []


def test_a_missing_checksum_or_archive_is_asked_for(tmp_path: Path, packed: tuple[Path, str]) -> None:
    for archive, sha256, says in (
        (packed[0], "", "image_base_rpios_sha256"),
        ("", packed[1], "image_base_rpios_archive"),
    ):
        code, _, said = base(tmp_path, archive, sha256)
        assert code == 2
        assert says in said
    code, _, said = base(tmp_path, tmp_path / "nowhere.img.xz", packed[1])
    assert code == 2
    assert "no such file" in said


@pytest.mark.parametrize("kept", [0.05, 0.5, 0.99])
def test_a_truncated_archive_is_refused_and_nothing_is_left(
    kept: float, tmp_path: Path, packed: tuple[Path, str]
) -> None:
    short = tmp_path / "short.img.xz"
    content = packed[0].read_bytes()
    short.write_bytes(content[: int(len(content) * kept)])
    code, _, said = base(tmp_path, short, host.sha256_file(short))
    assert code == 2
    assert "no whole .xz file" in said
    assert cards.leftovers(tmp_path / "cache") == []


def test_an_archive_damaged_in_its_middle_is_refused_and_nothing_is_left(
    tmp_path: Path, packed: tuple[Path, str]
) -> None:
    bad = tmp_path / "bad.img.xz"
    content = bytearray(packed[0].read_bytes())
    content[len(content) // 2] ^= 0xFF
    bad.write_bytes(content)
    code, _, said = base(tmp_path, bad, host.sha256_file(bad))
    assert code == 2
    assert "cannot be unpacked" in said
    assert cards.leftovers(tmp_path / "cache") == []


@pytest.mark.parametrize(
    ("root", "boot", "says"),
    [
        ({}, None, "holds no system"),
        ({"usr/lib/os-release": 'PRETTY_NAME="Slackware 15.0"\n'}, None, "holds Slackware 15.0, not Raspberry Pi OS"),
        ({k: v for k, v in cards.BOOKWORM.items() if "ld-linux" not in k}, None, "32-bit"),
        ({k: v for k, v in cards.BOOKWORM.items() if "imager_custom" not in k}, None, "neither cloud-init nor"),
        (cards.BOOKWORM, {"config.txt": ""}, "no cmdline.txt"),
    ],
)
def test_an_unknown_system_is_named_and_nothing_is_left(
    root: dict[str, str], boot: dict[str, str] | None, says: str, tmp_path: Path
) -> None:
    archive, digest = cards.pack(cards.make_rpios(tmp_path / "made", root, boot))
    code, _, said = base(tmp_path, archive, digest)
    assert code == 2
    assert says in said
    assert cards.leftovers(tmp_path / "cache") == []


@pytest.mark.parametrize(
    ("script", "says"), [(None, "no partition table"), ("label: dos\nstart=2048, type=83\n", "1 partitions")]
)
def test_an_image_without_the_partitions_is_refused(script: str | None, says: str, tmp_path: Path) -> None:
    image = tmp_path / "x.img"
    with image.open("wb") as file:
        file.truncate(8 << 20)
    if script:
        host.run(["sfdisk", "--quiet", image], stdin=script.encode(), limit_seconds=20)
    code, _, said = base(tmp_path, *cards.pack(image))
    assert code == 2
    assert says in said
    assert cards.leftovers(tmp_path / "cache") == []


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small tmpfs, which needs root")
def test_too_little_disk_is_told_first(tmp_path: Path, bookworm: Path, packed: tuple[Path, str]) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small], check=True, timeout=20)
    try:
        code, _, said = make_node(small, bookworm)
        assert code == 2
        assert "MiB free" in said
        assert not (small / "pi01.img").exists()
        code, _, said = base(small, *packed)
        assert code == 2
        assert "MiB free" in said
        assert cards.leftovers(small / "cache") == []
    finally:
        subprocess.run(["umount", small], check=True, timeout=20)


def test_a_full_disk_in_the_middle_leaves_nothing(tmp_path: Path, bookworm: Path) -> None:
    script = f"ulimit -f 1024; exec {sys.executable} -m images node"
    given = {
        "node": NODE,
        "base": str(bookworm),
        "rpios": True,
        "output": str(tmp_path),
        "keys": str(tmp_path / "keys"),
    }
    done = subprocess.run(
        ["bash", "-c", script],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": f"{cards.IMAGES_PATH}:{cards.REPOSITORY}"},
    )
    assert done.returncode != 0
    assert [name for name in cards.leftovers(tmp_path) if name.endswith((".img", ".json", ".part"))] == []


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


def test_check_mode_makes_nothing(tmp_path: Path) -> None:
    done = play(tmp_path, HOSTS, "--check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "cache").exists()


def emulate(tmp_path: Path, image: Path, boot_seconds: float) -> tuple[int, dict[str, Any], str]:
    given = {"node": NODE, "image": str(image), "machine": "raspi3b", "directory": str(tmp_path / "verify")}
    given |= {"output": str(tmp_path), "private_key": "/nowhere", "known_hosts": "pi01 ssh-ed25519 AAAA", "keep": False}
    return cards.step("emulate", {**given, "boot_seconds": boot_seconds})


needs_qemu = pytest.mark.skipif(host.find("qemu-system-aarch64") is None, reason="needs qemu-system-aarch64")


@needs_qemu
def test_a_card_without_a_kernel_is_not_booted(tmp_path: Path) -> None:
    image = cards.make_rpios(tmp_path / "made", cards.BOOKWORM, {"cmdline.txt": cards.CMDLINE})
    code, _, said = emulate(tmp_path, image, 5)
    assert code == 2
    assert "the boot partition has none of kernel8.img" in said
    assert not (tmp_path / "verify/card.img").exists()


@needs_qemu
def test_a_board_that_does_not_come_up_is_told_within_its_limit_and_stopped(tmp_path: Path) -> None:
    boot = {"cmdline.txt": cards.CMDLINE, "kernel8.img": "\0" * 4096}
    dtb = subprocess.run(
        ["qemu-system-aarch64", "-nodefaults", "-nographic", "-M", f"virt,dumpdtb={tmp_path / 'dtb'}"],
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert dtb.returncode == 0, dtb.stderr
    image = cards.make_rpios(tmp_path / "made", cards.BOOKWORM, boot)
    card.fat_write(card.open_card(image), {"bcm2710-rpi-3-b.dtb": (tmp_path / "dtb").read_bytes()})
    code, _, said = emulate(tmp_path, image, 4)
    assert code == 4
    assert "nothing was printed" in said
    assert "console.log" in said
    assert not (tmp_path / "verify/qemu.json").exists()
    assert not (tmp_path / "verify/card.img").exists()


def tar_of(directory: Path, files: dict[str, str], name: str, *flags: str) -> Path:
    tree = directory / f"{name}.tree"
    for path, content in files.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(content)
    archive = directory / name
    subprocess.run(["tar", "-cf", archive, *flags, "-C", tree, "."], check=True, timeout=60)
    return archive


def owner(opened: card.Card, path: str) -> list[str]:
    said = host.run(["debugfs", "-R", f"stat {path}", opened.ext4], limit_seconds=60).decode()
    return re.findall(r"User:\s+(\d+)\s+Group:\s+(\d+)", said)[0]


@pytest.mark.skipif(host.find("fakeroot") is None, reason="needs fakeroot")
def test_what_is_baked_in_lies_where_the_roles_look_for_it_and_is_the_users(tmp_path: Path) -> None:
    system = {
        "usr/bin/python3": "",
        "usr/bin/python3.11": "",
        "boot/firmware/config.txt": "arm_64bit=1\n",
        "etc/hosts": "",
        "opt/.keep": "",
    }
    root = tar_of(tmp_path, system, "root.tar")
    runtime = tar_of(
        tmp_path, {"lib/python3.11/site-packages/mxnet/__init__.py": "1", "bundle.json": "{}"}, "r.tar.gz", "-z"
    )
    baked = [{"archive": str(runtime), "target": "/opt/harness/runtime", "virtual_environment": True}]
    cache = tmp_path / "cache"
    cache.mkdir()
    image, made, _ = assemble.assemble(root, [assemble.Baked.parse(one) for one in baked], cache)
    assert made
    opened = card.open_card(image)
    assert card.ext_read(opened, "/opt/harness/runtime/bundle.json") == b"{}"
    assert b"home = /usr/bin" in (card.ext_read(opened, "/opt/harness/runtime/pyvenv.cfg") or b"")
    assert card.ext_read(opened, "/opt/harness/runtime/bin/python") == b"", (
        "the link must end at the image's own interpreter"
    )
    assert card.fat_read(opened, "config.txt") == b"arm_64bit=1\n"
    assert owner(opened, "/opt/harness/runtime/bundle.json") == ("1000", "1000")
    assert owner(opened, "/opt/harness") == ("1000", "1000")
    assert owner(opened, "/opt") == ("0", "0")
    assert owner(opened, "/etc/hosts") == ("0", "0")
    assert not assemble.assemble(root, [assemble.Baked.parse(one) for one in baked], cache)[1]
    plain = assemble.assemble(root, [], cache)[0]
    assert plain != image
    assert sorted(path.name for path in cache.glob("*.img")) == sorted([image.name, plain.name])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"archive": "/nowhere.tar.gz"}, "no such archive"),
        ({"target": "harness"}, "no directory"),
        ({"target": "/a/../b"}, "no dir"),
    ],
)
def test_what_cannot_be_baked_is_refused(change: dict[str, str], says: str, tmp_path: Path) -> None:
    archive = tar_of(tmp_path, {"x": ""}, "x.tar.gz", "-z")
    with pytest.raises(assemble.BadInputError, match=says):
        assemble.Baked.parse({"archive": str(archive), "target": "/opt/harness/runtime", **change})
