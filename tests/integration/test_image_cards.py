"""Bases, node images and everything a user can get wrong about them, with the real tools on small hand-made cards."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import image_cards as cards
import pytest

from harness.images import card, host
from harness.images.base import rpios
from harness.system.files import sha256_file

pytestmark = cards.need_tools


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
    given = {"node": {**cards.NODE, **changes}, "base": str(image), "rpios": True, "output": str(tmp_path)}
    return cards.step("node", {**given, "keys": str(tmp_path / "keys")})


def test_an_official_image_is_verified_unpacked_and_cached(
    tmp_path: Path, packed: tuple[Path, str], bookworm: Path
) -> None:
    code, result, said = base(tmp_path, *packed)
    assert (code, said) == (0, "")
    assert result["changed"]
    assert sha256_file(Path(result["image"])) == sha256_file(bookworm)
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


def test_a_bookworm_card_is_seeded_by_its_first_run(tmp_path: Path, bookworm: Path) -> None:
    code, result, said = make_node(tmp_path, bookworm)
    assert (code, said) == (0, "")
    opened = cards.check_identity(tmp_path / "pi01.img", result["known_hosts"].split(" ", 1)[1])
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
    opened = cards.check_identity(tmp_path / "pi01.img", result["known_hosts"].split(" ", 1)[1])
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
    code, _, said = base(tmp_path, short, sha256_file(short))
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
    code, _, said = base(tmp_path, bad, sha256_file(bad))
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
    script = f"ulimit -f 1024; exec {sys.executable} -m harness.images node"
    given = {
        "node": cards.NODE,
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
        cwd=cards.REPOSITORY,
    )
    assert done.returncode != 0
    assert [name for name in cards.leftovers(tmp_path) if name.endswith((".img", ".json", ".part"))] == []
