import dataclasses
from pathlib import Path
from typing import Any

import pytest

from harness.errors import BadInputError
from harness.images.device.disk import Disk, Request, parse_disk, refusals

GIB = 1 << 30
CARD = Disk("/dev/sdx", "8:0", "disk", True, "usb", False, 32 * GIB, "Reader", "1234", ())
REQUEST = Request(Path("pi01.img"), Path("/dev/sdx"), 256 * GIB, "", allow_loop=False, write=False)
IMAGE_BYTES = 2 * GIB


def test_a_card_is_not_refused() -> None:
    assert refusals(CARD, REQUEST, IMAGE_BYTES) == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"kind": "part"}, "no whole disk but part"),
        ({"kind": "crypt"}, "no whole disk but crypt"),
        ({"kind": "loop"}, "no whole disk but loop"),
        ({"removable": False, "transport": "sata"}, "neither removable"),
        ({"removable": False, "transport": "nvme"}, "neither removable"),
        ({"read_only": True}, "read-only"),
        ({"size": GIB}, "the image 2147483648 B"),
        ({"size": 2000 * GIB}, "more than the limit"),
        ({"uses": ("/dev/sdx1 is mounted at /boot",)}, "mounted at /boot"),
    ],
)
def test_everything_else_is_refused(changes: dict[str, Any], says: str) -> None:
    reasons = refusals(dataclasses.replace(CARD, **changes), REQUEST, IMAGE_BYTES)
    assert any(says in reason for reason in reasons), reasons


def test_a_card_in_a_built_in_slot_is_a_card() -> None:
    slot = dataclasses.replace(CARD, path="/dev/mmcblk0", removable=False, transport="")
    assert refusals(slot, REQUEST, IMAGE_BYTES) == []


def test_a_loop_device_is_allowed_only_where_asked_for() -> None:
    loop = dataclasses.replace(CARD, path="/dev/loop7", kind="loop", removable=False, transport="")
    assert refusals(loop, dataclasses.replace(REQUEST, allow_loop=True), IMAGE_BYTES) == []


def listing(**changes: Any) -> dict[str, Any]:
    top = {
        "name": "sdx",
        "path": "/dev/sdx",
        "type": "disk",
        "maj:min": "8:0",
        "rm": True,
        "hotplug": True,
        "ro": False,
    }
    top |= {
        "size": 32 * GIB,
        "tran": "usb",
        "vendor": "Generic ",
        "model": "Reader",
        "serial": "1234",
        "mountpoints": [None],
    }
    return {"blockdevices": [top | changes]}


def child(kind: str, path: str, *points: str, children: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {"path": path, "type": kind, "mountpoints": list(points) or [None], "children": children or []}


@pytest.mark.parametrize(
    ("children", "signatures", "says"),
    [
        ([child("part", "/dev/sdx1", "/")], {}, "mounted at /"),
        ([child("part", "/dev/sdx1", "[SWAP]")], {}, "in use as swap"),
        ([child("part", "/dev/sdx1", children=[child("lvm", "/dev/mapper/v-root", "/")])], {}, "mounted at /"),
        ([child("part", "/dev/sdx1", children=[child("crypt", "/dev/mapper/c")])], {}, "(crypt) is built on it"),
        ([child("part", "/dev/sdx1", children=[child("raid1", "/dev/md0")])], {}, "(raid1) is built on it"),
        ([child("part", "/dev/sdx1")], {"/dev/sdx1": "LVM2_member"}, "an LVM physical volume"),
        ([child("part", "/dev/sdx1")], {"/dev/sdx1": "linux_raid_member"}, "a RAID member"),
        ([], {"/dev/sdx": "crypto_LUKS"}, "an encrypted volume"),
        ([], {"/dev/sdx": "swap"}, "swap space"),
    ],
)
def test_what_lies_on_a_disk_is_found_at_any_depth(children: list[Any], signatures: dict[str, str], says: str) -> None:
    disk = parse_disk(listing(children=children), signatures)
    assert any(says in use for use in disk.uses), disk.uses


def test_an_old_card_with_ordinary_file_systems_is_free() -> None:
    parts = [child("part", "/dev/sdx1"), child("part", "/dev/sdx2")]
    disk = parse_disk(listing(children=parts), {"/dev/sdx1": "vfat", "/dev/sdx2": "ext4"})
    assert disk.uses == ()
    assert disk.model == "Generic Reader"
    assert disk.token == "1234"  # noqa: S105 - a serial number


def test_a_device_without_a_serial_is_confirmed_by_name_and_size() -> None:
    assert parse_disk(listing(serial=None), {}).token == f"sdx-{32 * GIB}"


@pytest.mark.parametrize("named", ["", None, "/dev/sdx /dev/sdy", "/dev/sd*", "/dev/sdx,/dev/sdy", ["/dev/sdx"]])
def test_one_device_a_run(named: Any, tmp_path: Path) -> None:
    image = tmp_path / "pi01.img"
    image.write_bytes(b"")
    with pytest.raises(BadInputError):
        Request.parse({"device": named, "image": str(image), "max_bytes": 1, "write": False})


def test_an_image_that_is_not_there_is_named() -> None:
    with pytest.raises(BadInputError, match=r"nowhere\.img"):
        Request.parse({"device": "/dev/sdx", "image": "nowhere.img", "max_bytes": 1, "write": False})
