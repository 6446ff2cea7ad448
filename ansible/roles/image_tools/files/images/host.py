"""What touches the controller: commands with limits, locks, temporary names, hashes and copies that share blocks."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import harness
from harness.errors import BadInputError, HarnessError

FICLONE = 0x40049409  # _IOW(0x94, 9, int): share the blocks of one file with another (btrfs, xfs, overlay on them)
CHUNK_BYTES = 4 << 20
# Where a child that is `python -m images` finds this package and the harness's errors.
CHILD_ENVIRONMENT = {
    "PYTHONPATH": os.pathsep.join(str(Path(str(file)).resolve().parents[1]) for file in (__file__, harness.__file__))
}
PACKAGE_OF = {
    "mmdebstrap": "mmdebstrap",
    "arch-test": "arch-test",
    "fakeroot": "fakeroot",
    "tar": "tar",
    "sfdisk": "fdisk",
    "mkfs.ext4": "e2fsprogs",
    "debugfs": "e2fsprogs",
    "e2fsck": "e2fsprogs",
    "mkfs.vfat": "dosfstools",
    "mcopy": "mtools",
    "mdir": "mtools",
    "mtype": "mtools",
    "mdel": "mtools",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "ssh-keyscan": "openssh-client",
    "openssl": "openssl",
    "patchelf": "patchelf",
    "unshare": "util-linux",
    "chroot": "coreutils",
    "lsblk": "util-linux",
    "blkid": "util-linux",
    "mount": "mount",
    "xz": "xz-utils",
    "qemu-system-aarch64": "qemu-system-arm",
    "qemu-aarch64-static": "qemu-user-static",
}


class StepError(HarnessError):
    """A tool that was asked to do a step of an image failed."""

    exit_code = 4


def require(*tools: str) -> None:
    """Raise BadInputError naming the Debian packages of all `tools` that are not installed."""
    missing = [tool for tool in tools if find(tool) is None]
    if missing:
        packages = sorted({PACKAGE_OF.get(tool, tool) for tool in missing})
        raise BadInputError(f"not installed: {', '.join(missing)}", f"apt-get install {' '.join(packages)}")


def find(tool: str) -> str | None:
    """Path of `tool`, also where only root's PATH has it."""
    return shutil.which(tool) or shutil.which(tool, path="/usr/sbin:/sbin:/usr/local/sbin")


def run(
    argv: Sequence[str | Path],
    *,
    limit_seconds: float,
    stdin: bytes | None = None,
    environment: Mapping[str, str] | None = None,
    log: Path | None = None,
) -> bytes:
    """Run a command and return its standard output; StepError with its last lines when it fails or exceeds the limit.

    With `log`, all output goes there instead and nothing is returned.
    """
    tool = str(argv[0])
    require(tool) if "/" not in tool else None
    command = [find(tool) or tool, *map(str, argv[1:])]
    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(log.open("wb")) if log else None
        try:
            done = subprocess.run(
                command,
                input=stdin,
                stdin=subprocess.DEVNULL if stdin is None else None,
                stdout=sink or subprocess.PIPE,
                stderr=subprocess.STDOUT if sink else subprocess.PIPE,
                env={**os.environ, "LC_ALL": "C.UTF-8", **(environment or {})},
                timeout=limit_seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as exc:
            raise StepError(f"{tool} did not end within {limit_seconds:.0f} s", _see(log)) from exc
    if done.returncode != 0:
        said = (log.read_bytes() if log else done.stderr or done.stdout or b"").decode(errors="replace")
        last = "\n".join(said.strip().splitlines()[-12:])
        raise StepError(f"{tool} failed with exit status {done.returncode}: {last}", _see(log))
    return done.stdout or b""


def _see(log: Path | None) -> str:
    return f"read {log}" if log else ""


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's content, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def lock(path: Path, limit_seconds: float = 3600) -> Iterator[None]:
    """Hold an exclusive lock named after `path`, waiting for another holder at most `limit_seconds`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + limit_seconds
    with path.with_name(f".{path.name}.lock").open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise StepError(
                        f"{path} has been locked by another run for {limit_seconds:.0f} s",
                        "wait for the other run, or stop it",
                    ) from None
                time.sleep(0.2)
        yield


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; it becomes `path` only when the block ends well, else nothing is left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes, mode: int = 0o644) -> bool:
    """Write `content` atomically where it differs; True when it did."""
    if path.is_file() and path.read_bytes() == content:
        path.chmod(mode)
        return False
    with whole(path) as temporary:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
        temporary.chmod(mode)
    return True


def require_space(directory: Path, needed_bytes: int, what: str) -> None:
    """Raise BadInputError when `directory`'s file system has less than `needed_bytes` free."""
    directory.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(directory).free
    if free < needed_bytes:
        raise BadInputError(
            f"{directory} has {free >> 20} MiB free, {what} needs {needed_bytes >> 20} MiB",
            "free some space, or name another directory",
        )


def clone(source: Path, target: Path) -> str:
    """Copy a file sharing its blocks where the file system can, else only the parts that hold data; tells which.

    Returns "reflink" or "sparse". `target` must not exist.
    """
    with source.open("rb") as read, target.open("xb") as write:
        try:
            fcntl.ioctl(write.fileno(), FICLONE, read.fileno())
        except OSError:
            _copy_data_extents(read.fileno(), write.fileno(), source.stat().st_size)
            return "sparse"
    return "reflink"


def _copy_data_extents(source: int, target: int, size: int) -> None:
    os.ftruncate(target, size)
    position = 0
    while position < size:
        try:
            start = os.lseek(source, position, os.SEEK_DATA)
        except OSError:  # ENXIO: only a hole is left
            return
        position = os.lseek(source, start, os.SEEK_HOLE)
        offset = start
        while offset < position:
            offset += os.copy_file_range(source, target, min(position - offset, 1 << 30), offset, offset)
