"""What is baked into a base image lies where the roles look for it."""

import re
import subprocess
from pathlib import Path

import image_cards as cards
import pytest

from harness.errors import BadInputError
from harness.images import card, host
from harness.images.base import assemble
from harness.system.commands import find

pytestmark = cards.need_tools


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


@pytest.mark.skipif(find("fakeroot") is None, reason="needs fakeroot")
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
    with pytest.raises(BadInputError, match=says):
        assemble.Baked.parse({"archive": str(archive), "target": "/opt/harness/runtime", **change})
