"""The Debian base: an arm64 root file system from packages, as a tar archive that is cached by the hash of its inputs."""

from __future__ import annotations

import hashlib
import json
import shlex
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.images.base.binfmt import EMULATED_PROCESSOR, require_foreign_binaries
from harness.images.host import lock, require_space, run
from harness.images.nodes.first_boot import SSHD_CONFIG, SSHD_DROP_IN
from harness.system.files import whole
from harness.system.packages import NODE_PACKAGES, read_packages, require

HERE = Path(__file__).resolve().parent
HOOK = HERE / "customize.py"
BOOT_LABEL = "HARNESSBOOT"
ROOT_LABEL = "harness-root"
BUILD_LIMIT_SECONDS = 3600
BUILD_SPACE_BYTES = 4 << 30

ARCHITECTURE = "arm64"
SUITE = "bookworm"
COMPONENTS = ("main", "non-free-firmware")
# What a board needs besides what every node needs.
BOARD_PACKAGES = (
    "linux-image-arm64",
    "raspi-firmware",
    "initramfs-tools",
    "cloud-init",
    "cloud-guest-utils",
    "systemd-resolved",
    "dosfstools",
    "e2fsprogs",
    "fdisk",
    "kmod",
    "netbase",
    "tzdata",
    "udev",
)

# Modules that find the card and its file system on a Pi 3 (and the disks of QEMU's machines).
INITRD_MODULES = (
    "bcm2835",
    "sdhci_iproc",
    "mmc_block",
    "bcm2835_dma",
    "ext4",
    "crc32c_generic",
    "crc32_ce",
    "virtio_blk",
    "virtio_pci",
    "virtio_mmio",
)


@dataclass(frozen=True)
class DebianBase:
    """Everything the root file system is made from."""

    suite: str
    components: tuple[str, ...]
    packages: tuple[str, ...]

    @classmethod
    def of(cls, suite: str, components: Sequence[str], further: Sequence[str]) -> DebianBase:
        """The base with every node's packages, a board's, and `further` ones."""
        return cls(suite, tuple(components), read_packages(NODE_PACKAGES, ARCHITECTURE, [*BOARD_PACKAGES, *further]))

    def files(self) -> dict[str, str]:
        """Files put into the root file system before the packages are configured, by path."""
        return {
            "etc/default/raspi-firmware": firmware_defaults(serial_console=True),
            "etc/initramfs-tools/conf.d/harness": "MODULES=list\nCOMPRESS=gzip\n",
            "etc/initramfs-tools/modules": "".join(f"{name}\n" for name in INITRD_MODULES),
            "etc/fstab": (
                f"LABEL={ROOT_LABEL} / ext4 defaults,noatime 0 1\n"
                f"LABEL={BOOT_LABEL} /boot/firmware vfat defaults,umask=0077 0 2\n"
            ),
            SSHD_DROP_IN.lstrip("/"): SSHD_CONFIG,
            "etc/cloud/cloud.cfg.d/90-harness.cfg": (
                "datasource_list: [NoCloud, None]\n"
                f"datasource:\n  NoCloud:\n    fs_label: {BOOT_LABEL}\n"
                "ssh_deletekeys: false\nssh_genkeytypes: []\n"
                "disable_root: true\nssh_pwauth: false\n"
                "system_info:\n  network:\n    renderers: [networkd]\n"
            ),
            "etc/systemd/resolved.conf.d/harness.conf": "[Resolve]\nLLMNR=no\nMulticastDNS=no\n",
        }

    def digest(self) -> str:
        """Hash of all inputs: package names, suite, files, and the code that puts them together."""
        inputs = {
            **asdict(self),
            "files": self.files(),
            "hook": HOOK.read_text(encoding="utf-8"),
            "command": mmdebstrap_command(self, Path("files"), Path("target"), Path("hook")),
        }
        return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]


def build_root(base: DebianBase, cache: Path) -> tuple[Path, bool, float]:
    """Make the root file system's archive, or find it in `cache`: (path, made now, seconds)."""
    begin = time.monotonic()
    archive = cache / f"debian-{base.suite}-{base.digest()}.tar"
    with lock(archive):
        if archive.is_file():
            return archive, False, time.monotonic() - begin
        require("mmdebstrap", "arch-test")
        require_foreign_binaries()
        require_space(cache, BUILD_SPACE_BYTES, "building the root file system")
        with whole(archive) as temporary:
            overlay = archive.with_suffix(".files")
            _write_overlay(base, overlay)
            run(
                mmdebstrap_command(base, overlay, temporary),
                limit_seconds=BUILD_LIMIT_SECONDS,
                # no initrd for every package: one at the end, by the hook
                environment={"INITRD": "No", **EMULATED_PROCESSOR},
                log=archive.with_suffix(".log"),
            )
    return archive, True, time.monotonic() - begin


def _write_overlay(base: DebianBase, overlay: Path) -> None:
    for name, content in base.files().items():
        path = overlay / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")


def firmware_defaults(*, serial_console: bool) -> str:
    """/etc/default/raspi-firmware, from which Debian writes cmdline.txt at every kernel update."""
    consoles = "tty0 ttyS1,115200" if serial_console else "tty0"
    return f'ROOTPART="LABEL={ROOT_LABEL}"\nCONSOLES="{consoles}"\n'


def mmdebstrap_command(base: DebianBase, overlay: Path, target: Path, hook: Path = HOOK) -> list[str]:
    """Arguments of mmdebstrap; the distribution's own mirrors are used, so no other can be left inside."""
    call = ("/usr/bin/python3", str(hook))
    return [
        "mmdebstrap",
        "--mode=unshare",
        f"--architectures={ARCHITECTURE}",
        "--variant=minbase",
        f"--components={','.join(base.components)}",
        f"--include={','.join(base.packages)}",
        "--dpkgopt=force-confold",  # or the files written before their packages would be asked about
        '--aptopt=Acquire::Languages "none"',
        "--format=tar",
        f'--essential-hook={shlex.join([*call, "prepare", str(overlay)])} "$1"',
        f'--customize-hook={shlex.join([*call, "finish"])} "$1"',
        base.suite,
        str(target),
    ]
