"""Writing a card, on loop devices: what is written is what is read, and every refusal."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import image_cards as cards
import pytest
from image_cards import CARD_BYTES, MIB, sh, token, untouched

from harness.errors import BadInputError, ImageError
from harness.images import host
from harness.images.device import disk
from harness.images.device import write as device
from harness.system.commands import find

pytestmark = [pytest.mark.image, cards.need_loops]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = cards.make_rpios(tmp_path_factory.mktemp("image"), cards.BOOKWORM)
    with made.open("r+b") as file:  # an odd end: not a whole number of the writer's chunks
        file.truncate(made.stat().st_size + 512)
    return made


@pytest.fixture
def blank(tmp_path: Path) -> Iterator[str]:
    with cards.blank_card(tmp_path) as loop:
        yield loop


def ask(image: Path, named: str, **changes: Any) -> tuple[int, dict[str, Any], str]:
    given = {
        "image": str(image),
        "device": named,
        "max_bytes": 1 << 40,
        "allow_loop": True,
        "write": True,
        "confirm": "",
    }
    return cards.step("write", {**given, **changes})


def test_what_is_written_is_what_is_read(image: Path, blank: str) -> None:
    code, shown, said = ask(image, blank, write=False)
    assert (code, said) == (0, "")
    assert (shown["confirm"], shown["bytes"], shown["written_bytes"]) == (token(blank), CARD_BYTES, 0)
    assert untouched(blank), "looking must not write"
    code, result, said = ask(image, blank, confirm=shown["confirm"])
    assert (code, said) == (0, "")
    assert result["written_bytes"] == image.stat().st_size
    with Path(blank).open("rb") as read:
        assert read.read(image.stat().st_size) == image.read_bytes()


def test_a_link_is_resolved_once_to_the_device(image: Path, blank: str, tmp_path: Path) -> None:
    link = tmp_path / "by-id"
    link.symlink_to(blank)
    code, result, said = ask(image, str(link), confirm=token(blank))
    assert (code, said) == (0, "")
    assert result["path"] == blank


@pytest.mark.parametrize("typed", ["", "yes", "loop0-1"])
def test_without_the_serial_nothing_is_written(typed: str, image: Path, blank: str) -> None:
    code, _, said = ask(image, blank, confirm=typed)
    assert code == 2
    assert "is not its serial" in said
    assert untouched(blank)


def refused(image: Path, named: str, says: str, **changes: Any) -> None:
    for write in (False, True):
        confirm = changes.get("confirm", token(named))
        code, _, said = ask(image, named, **{**changes, "write": write, "confirm": confirm})
        assert code == 2, said
        assert says in said


def test_refuses_a_loop_device_that_was_not_allowed(image: Path, blank: str) -> None:
    refused(image, blank, "no whole disk but loop", allow_loop=False)
    assert untouched(blank)


def test_refuses_a_device_smaller_than_the_image(image: Path, tmp_path: Path) -> None:
    with (tmp_path / "small").open("wb") as file:
        file.truncate(16 * MIB)
    loop = sh("losetup", "--find", "--show", tmp_path / "small")
    try:
        refused(image, loop, f"it has {16 * MIB} B, the image")
    finally:
        sh("losetup", "--detach", loop)


def test_refuses_a_device_larger_than_the_limit(image: Path, blank: str) -> None:
    refused(image, blank, "more than the limit", max_bytes=CARD_BYTES - 1)


def test_refuses_a_read_only_device(image: Path, tmp_path: Path) -> None:
    with (tmp_path / "locked").open("wb") as file:
        file.truncate(CARD_BYTES)
    loop = sh("losetup", "--find", "--show", "--read-only", tmp_path / "locked")
    try:
        refused(image, loop, "it is read-only")
    finally:
        sh("losetup", "--detach", loop)


def test_refuses_a_mounted_device(image: Path, blank: str, tmp_path: Path) -> None:
    sh("mkfs.ext4", "-q", blank)
    (tmp_path / "mount").mkdir()
    sh("mount", blank, tmp_path / "mount")
    try:
        refused(image, blank, f"is mounted at {tmp_path / 'mount'}")
    finally:
        sh("umount", tmp_path / "mount")


def test_refuses_a_partition_and_a_disk_with_a_mounted_partition(image: Path, blank: str, tmp_path: Path) -> None:
    host.run(["sfdisk", "--quiet", blank], stdin=b"label: dos\nstart=2048, type=83\n", limit_seconds=60)
    sh("partx", "--update", blank)
    part = f"{blank}p1"
    if not Path(part).exists():
        pytest.skip("this kernel makes no partitions on loop devices")
    sh("mkfs.ext4", "-q", part)
    refused(image, part, "no whole disk but part", confirm="x")
    (tmp_path / "mount").mkdir()
    sh("mount", part, tmp_path / "mount")
    try:
        refused(image, blank, f"{part} is mounted at {tmp_path / 'mount'}")
    finally:
        sh("umount", tmp_path / "mount")


def test_refuses_swap_in_use_and_swap_at_rest(image: Path, blank: str) -> None:
    sh("mkswap", blank)
    refused(image, blank, "is swap space")
    done = subprocess.run(["/sbin/swapon", blank], capture_output=True, text=True, timeout=20, check=False)
    if done.returncode != 0:
        pytest.skip(f"swapon: {done.stderr.strip()}")
    try:
        refused(image, blank, "is in use as swap")
    finally:
        sh("swapoff", blank)


def test_refuses_an_encrypted_volume(image: Path, blank: str) -> None:
    header = (
        b"LUKS\xba\xbe\x00\x01" + b"aes".ljust(32, b"\0") + b"xts-plain64".ljust(32, b"\0") + b"sha256".ljust(32, b"\0")
    )
    with Path(blank).open("r+b") as file:
        file.write(header.ljust(592, b"\0"))
    refused(image, blank, "is an encrypted volume")


def test_refuses_a_device_that_another_is_built_on(image: Path, blank: str) -> None:
    if find("dmsetup") is None:
        pytest.skip("needs dmsetup")
    name = f"harness-test-{os.getpid()}"
    table = f"0 {CARD_BYTES // 512} linear {blank} 0"
    done = subprocess.run(
        ["/sbin/dmsetup", "create", name, "--table", table], capture_output=True, timeout=20, check=False
    )
    if done.returncode != 0:
        pytest.skip("this kernel has no device mapper")
    try:
        refused(image, blank, "is built on it")
    finally:
        sh("dmsetup", "remove", name)


def test_refuses_the_disk_of_this_machine(image: Path) -> None:
    source = sh("findmnt", "--nofsroot", "--noheadings", "--output", "SOURCE", "--target", "/")
    if not source.startswith("/dev/"):
        pytest.skip(f"/ is on {source}")
    parent = sh("lsblk", "--noheadings", "--nodeps", "--output", "PKNAME", source)
    disk = f"/dev/{parent}" if parent else source
    code, _, said = ask(image, disk, write=False)  # never asked to write: the refusal is what is tested
    assert code == 2
    assert "is mounted at" in said


@pytest.mark.parametrize(
    ("named", "says"),
    [
        ("", "no device was named"),
        ("/dev/loop0 /dev/loop1", "does not name one device"),
        ("/dev/loop*", "does not name one device"),
        ("/dev/no-such-card", "No such file"),
        ("/dev/null", "is no block device"),
        ("/etc/hostname", "is no block device"),
    ],
)
def test_refuses_what_is_no_device(named: str, says: str, image: Path) -> None:
    code, _, said = ask(image, named, write=False)
    assert code == 2
    assert says in said


def test_refuses_what_is_no_image(blank: str, tmp_path: Path) -> None:
    (tmp_path / "x.img").write_bytes(bytes(MIB))
    code, _, said = ask(tmp_path / "x.img", blank, confirm=token(blank))
    assert code == 2
    assert "no partition table" in said
    assert untouched(blank)


def test_refuses_a_device_that_changes_between_look_and_write(
    image: Path, blank: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = disk.look(Path(blank))
    seen = iter([first, dataclasses.replace(first, serial="another")])
    monkeypatch.setattr(device, "look", lambda path: next(seen))
    request = disk.Request(image, Path(blank), 1 << 40, token(blank), allow_loop=True, write=True)
    with pytest.raises(BadInputError, match="changed while it was checked"):
        device.write_image(request)
    assert untouched(blank)


def test_a_card_that_does_not_keep_what_it_is_given_is_found(
    image: Path, blank: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.pwrite

    def forgetful(descriptor: int, data: memoryview, offset: int) -> int:
        return real(descriptor, data, offset) if offset else len(data)

    monkeypatch.setattr(device.os, "pwrite", forgetful)
    request = disk.Request(image, Path(blank), 1 << 40, token(blank), allow_loop=True, write=True)
    with pytest.raises(ImageError, match="something else than was written"):
        device.write_image(request)


def play(tmp_path: Path, image: Path, **variables: Any) -> subprocess.CompletedProcess[str]:
    output, inventory = tmp_path / "out", tmp_path / "inventory"
    for directory in (output, inventory):
        directory.mkdir(exist_ok=True)
    shutil.copyfile(image, output / "pi01.img")
    (inventory / "hosts.yml").write_text(
        "nodes: {hosts: {pi01: {ansible_host: 10.0.0.1}, pi02: {ansible_host: 10.0.0.2}}, vars: {ansible_user: pi}}"
    )
    extra = {"image_tools_output": str(output), "image_write_allow_loop": True, "image_write_node": "pi01", **variables}
    playbook = Path(sys.executable).with_name("ansible-playbook")
    return subprocess.run(
        [playbook, "-i", inventory, "ansible/playbooks/image.yml", "-e", json.dumps(extra)],
        cwd=cards.REPOSITORY,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_playbook_writes_one_card_and_makes_nothing(image: Path, blank: str, tmp_path: Path) -> None:
    done = play(tmp_path, image, image_write_device=blank, image_write_serial=token(blank))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"written_bytes: {image.stat().st_size}" in done.stdout
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["pi01.img"]
    with Path(blank).open("rb") as read:
        assert read.read(image.stat().st_size) == image.read_bytes()


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"image_write_serial": "another"}, "is not its serial"),
        ({}, "is not its serial"),  # nobody is there to type it
        ({"image_write_node": "pi09"}, "no node 'pi09'"),
        ({"image_write_node": "pi02", "image_write_serial": "x"}, "pi02.img: no such image"),
    ],
)
def test_the_playbook_writes_nothing_unless_all_is_right(
    variables: dict[str, Any], says: str, image: Path, blank: str, tmp_path: Path
) -> None:
    done = play(tmp_path, image, image_write_device=blank, **variables)
    assert done.returncode != 0
    assert says in done.stdout + done.stderr
    assert untouched(blank)
