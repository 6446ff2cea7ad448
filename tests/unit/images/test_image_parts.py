"""The pure and the small parts of making an image: partition tables, package lists, safe files, the emulator's arguments."""

import fcntl
import json
import os
from pathlib import Path
from typing import Any

import pytest
from agent.processes import start_ticks

from harness.errors import BadInputError, ImageError
from harness.images import card, figures, host
from harness.images.base import debian, rpios
from harness.images.emulation import board, login
from harness.images.emulation.console import reached, without_card
from harness.images.emulation.guest import Guest
from harness.images.nodes.card_node import CardNode
from harness.system import files, packages

MIB = 1 << 20


def table(*parts: tuple[str, int, int]) -> dict[str, Any]:
    partitions = [{"type": kind, "start": start, "size": size} for kind, start, size in parts]
    return {"partitiontable": {"sectorsize": 512, "partitions": partitions}}


def sparse(path: Path, size: int) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
    return path


def test_a_cards_two_partitions_are_found(tmp_path: Path) -> None:
    image = sparse(tmp_path / "x.img", 600 * MIB)
    found = card.parse_table(image, table(("c", 8192, 524288), ("83", 532480, 524288)))
    assert (found.boot_start, found.root_start, found.root_size) == (4 * MIB, 260 * MIB, 256 * MIB)
    assert found.fat == f"{image}@@{4 * MIB}"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (table(), "0 partitions"),
        (table(("c", 8192, 1024)), "1 partitions"),
        (table(("83", 8192, 1024), ("83", 16384, 1024)), "type 83 and 83"),
        (table(("c", 8192, 1024), ("82", 16384, 1024)), "type c and 82"),
        (table(("c", 8192, 524288), ("83", 532480, 9999999)), "cut short"),
        ({}, "0 partitions"),
    ],
)
def test_what_is_no_card_is_refused(content: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=says):
        card.parse_table(sparse(tmp_path / "x.img", 600 * MIB), content)


def test_the_partition_script_fills_the_card() -> None:
    script = card.partition_script(1024 * MIB)
    assert "start=8192, size=524288, type=c" in script
    assert f"start=532480, size={1024 * MIB // 512 - 532480}, type=83" in script


def test_package_lists_lose_comments_and_doubles(tmp_path: Path) -> None:
    listed = tmp_path / "packages.txt"
    listed.write_text("# all\nsudo\n\npython3  # for Ansible\nsudo\n")
    assert packages.read_packages([listed], "amd64", ["udev"]) == ("python3", "sudo", "udev")
    with pytest.raises(BadInputError, match="no such package list"):
        packages.read_packages([tmp_path / "none.txt"], "amd64")


def test_a_package_may_be_of_some_architectures_alone(tmp_path: Path) -> None:
    listed = tmp_path / "packages.txt"
    listed.write_text("sudo\nlibquadmath0 [amd64 i386]  # Fortran's\n")
    assert packages.read_packages([listed], "i386") == ("libquadmath0", "sudo")
    assert packages.read_packages([listed], "arm64") == ("sudo",)
    listed.write_text("sudo python3\n")
    with pytest.raises(BadInputError, match="'sudo python3' is no package"):
        packages.read_packages([listed], "arm64")


def test_the_repositorys_own_package_list_is_in_the_base() -> None:
    base = debian.DebianBase.of("trixie", ("main",), ())
    assert {"openssh-server", "python3", "libgomp1"} <= set(base.packages)
    assert "libquadmath0" not in base.packages  # Debian has it for x86-64 alone


def test_every_input_of_the_root_file_system_is_in_its_name() -> None:
    base = debian.DebianBase("bookworm", ("main",), ("sudo",))
    others = [
        debian.DebianBase("trixie", ("main",), ("sudo",)),
        debian.DebianBase("bookworm", ("main", "non-free-firmware"), ("sudo",)),
        debian.DebianBase("bookworm", ("main",), ("sudo", "udev")),
    ]
    assert len({base.digest(), *(other.digest() for other in others)}) == 4
    assert base.digest() == debian.DebianBase("bookworm", ("main",), ("sudo",)).digest()


def test_a_broken_intermediate_never_gets_the_name(tmp_path: Path) -> None:
    target = tmp_path / "result"

    def break_off() -> None:
        with files.whole(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        break_off()
    assert list(tmp_path.iterdir()) == []


def test_a_failing_tool_is_named_with_its_last_words() -> None:
    with pytest.raises(ImageError, match=r"exit status 2: .*no-such-file"):
        host.run(["tar", "-xf", "/no-such-file"], limit_seconds=20)


def test_a_tool_that_hangs_is_ended() -> None:
    with pytest.raises(ImageError, match="did not end within"):
        host.run(["sleep", "20"], limit_seconds=0.2)


def test_a_missing_tool_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "find", lambda tool: None)
    with pytest.raises(BadInputError) as refused:
        packages.require("mcopy", "sfdisk")
    assert refused.value.remedy == "apt-get install fdisk mtools"


def test_too_little_disk_is_told_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="MiB free"):
        host.require_space(tmp_path, 1 << 60, "a test")


def test_a_lock_that_stays_taken_is_an_error(tmp_path: Path) -> None:
    with (tmp_path / ".x.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(ImageError, match="locked by another run"), host.lock(tmp_path / "x", limit_seconds=0.1):
            pass


def test_a_clone_equals_its_source_and_stays_sparse(tmp_path: Path) -> None:
    source = sparse(tmp_path / "source", 64 * MIB)
    with source.open("r+b") as file:
        for offset in (0, 5 * MIB + 3, 63 * MIB):
            file.seek(offset)
            file.write(os.urandom(1000))
    target = tmp_path / "target"
    assert host.clone(source, target) in ("reflink", "sparse")
    assert files.sha256_file(target) == files.sha256_file(source)
    assert target.stat().st_blocks * 512 < MIB


def test_secret_files_are_never_readable_by_others(tmp_path: Path) -> None:
    assert files.write_whole(tmp_path / "key", b"secret", 0o600)
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert not files.write_whole(tmp_path / "key", b"secret", 0o600)


@pytest.mark.parametrize(
    ("fstab", "mount"),
    [
        ("PARTUUID=1-01 /boot/firmware vfat defaults 0 2\n", "/boot/firmware"),
        ("proc /proc proc\nPARTUUID=1-01  /boot  vfat  defaults\n", "/boot"),
        ("", "/boot/firmware"),
    ],
)
def test_the_boot_mount_is_read_from_fstab(fstab: str, mount: str) -> None:
    assert rpios.boot_mount(fstab) == mount


def test_cards_are_grown_to_a_power_of_two() -> None:
    assert [board.card_bytes(size) for size in (1, 2 << 30, (2 << 30) + 1)] == [2 << 30, 2 << 30, 4 << 30]


def test_the_emulated_board_gets_its_own_consoles() -> None:
    words = board.kernel_parameters(
        "console=tty0 console=serial0,115200 root=LABEL=x init=/first quiet rootwait"
    ).split()
    assert [word for word in words if word.startswith("console=")] == ["console=ttyAMA0,115200"]
    assert "modprobe.blacklist=cdc_subset" in words
    assert not any(word.startswith("init=") for word in words)


def test_the_emulated_network_reaches_nothing_and_forwards_only_ssh_on_loopback(tmp_path: Path) -> None:
    node = CardNode.parse(
        {
            "name": "pi01",
            "address": "10.0.0.1",
            "user": "pi",
            "authorized_keys": ["ssh-ed25519 AAAA x"],
            "gateway": "10.0.0.9",
        }
    )
    boot = board.Boot(tmp_path / "k", None, tmp_path / "d", "root=x")
    words = board.command("raspi3b", boot, tmp_path / "card", node, 2222, tmp_path / "console")
    network = next(word for word in words if word.startswith("user,id=n0"))
    assert "restrict=on" in network
    assert "hostfwd=tcp:127.0.0.1:2222-10.0.0.1:22" in network
    assert "host=10.0.0.9" in network


def test_how_far_a_boot_came_is_told(tmp_path: Path) -> None:
    console = tmp_path / "console"
    assert reached(console) == "nothing was printed"
    console.write_text("Linux version 6.1\n")
    assert reached(console) == "the kernel ran"
    console.write_text("Linux version 6.1\nsystemd[1]: up\n[FAILED] Failed to start x.service\n")
    assert reached(console) == "systemd was up; failed: Failed to start x.service"


def test_an_emulated_board_without_its_network_card_is_not_waited_for(tmp_path: Path) -> None:
    console = tmp_path / "console"
    lost = "usb usb1-port1: attempt power cycle\n"
    ended = "cloud-init[516]: Cloud-init v. 22.4.2 finished at Mon, 27 Apr 2026\n"
    card = "usb 1-1.1: New USB device found, idVendor=0525, idProduct=a4a2, bcdDevice= 0.00\n"
    for text, without in (
        ("", False),
        (lost, False),
        (ended, False),
        (lost + card + ended, False),
        (lost + ended, True),
    ):
        console.write_text(text)
        assert without_card(console) is without
    running = Guest(os.getpid(), 1, tmp_path, console)
    state = {"pid": os.getpid(), "started": start_ticks(os.getpid()), "port": 1}
    (tmp_path / "qemu.json").write_text(json.dumps(state))
    with pytest.raises(login.NoCardError):
        login.wait_for_ssh(running, ["false"], 60)


def test_figures_merge_and_stand_beside_their_bars(tmp_path: Path) -> None:
    figures.record(tmp_path, {"node_seconds": {"pi01": 1.0}, "base_build_seconds": 800.0})
    figures.record(tmp_path, {"node_seconds": {"pi02": 2.0}})
    known = json.loads((tmp_path / figures.NAME).read_text())
    assert known == {"node_seconds": {"pi01": 1.0, "pi02": 2.0}, "base_build_seconds": 800.0}
    rows = {row["name"]: (row["seconds"], row["held"]) for row in figures.bars(known)}
    assert rows == {"base_build_seconds": (800.0, False), "node_seconds": (2.0, True)}
