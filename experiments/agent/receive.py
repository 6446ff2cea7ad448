"""Puts the code in its place on a node, whole and as it was sent, and goes on as the agent that is in it.

    python -I -S -c RECEIVE ROOT NAME LIST [VERB]

The harness hands this file to the node's Python, before anything of ours is there: it imports nothing of ours. The code lies in
`ROOT/code/NAME/`. In it, LIST has the SHA-256 of every file, and NAME is how the SHA-256 of LIST itself begins: so a file that
a power cut emptied or somebody changed is found, and so is one that does not belong there. Then all of it is sent again.

It answers `{"present": .., "wrong": [..]}`. Where the code is not present, or is wrong, it reads a line with the size of a tar
archive and the archive, and answers again.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import json
import os
import select
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

READ_SECONDS = 60.0
COMPILE_SECONDS = 50.0
# The other end waits for an answer for 60 s.
LOCK_SECONDS = 45.0
SHOWN = 5
PROTECTED = 0o555
CACHE = "__pycache__"
CACHES = ".caches.json"


def main(root: str, name: str, list_name: str, verb: str = "") -> None:
    """See above."""
    target = Path(root, "code", name)
    try:
        if differences(target, list_name):
            held = target.parents[1] / "held"
            for directory in (held, target.parent):
                make_private(directory)
            with locked(held / "code.lock"):
                receive(target, list_name)
        else:
            say(present=True, wrong=[])
    except (OSError, ValueError, tarfile.TarError) as error:
        say(error=str(error))
        return
    if verb:
        # The agent goes on in this interpreter: a second one would cost a small board half a second.
        sys.path.insert(0, str(target))
        from agent.command import main as answer

        answer(verb)


def receive(target: Path, list_name: str) -> None:
    """Take the code and put it in the place of what is there, unless another agent of this machine has just done that."""
    wrong = differences(target, list_name)
    there = os.path.lexists(target)
    say(present=not wrong, wrong=wrong[:SHOWN] if there else [])
    if not wrong:
        return
    data = read_exactly(int(read_line() or b"0"))
    if not data:
        return  # the harness went away
    partial, old = (target.with_name(f"{target.name}.{kind}.{os.getpid()}") for kind in ("new", "old"))
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(mode=0o700)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        if hasattr(tarfile, "data_filter"):  # Debian 12's Python has none yet; the archive is the controller's own
            archive.extraction_filter = tarfile.data_filter
        archive.extractall(partial)  # noqa: S202
    write_caches(partial, target)
    settle(partial)
    if there:
        target.rename(old)
    partial.rename(target)
    sync(target.parent)
    shutil.rmtree(old, ignore_errors=True)
    say(present=True, wrong=[])


def differences(target: Path, list_name: str) -> list[str]:
    """What is wrong with the code in a directory, by file; nothing where it is as it was sent.

    Bytecode that another Python wrote since is no fault, and removed: a torn one would end an import.
    """
    try:
        listed = (target / list_name).read_bytes()
    except OSError:
        return [list_name]
    if not hashlib.sha256(listed).hexdigest().startswith(target.name):
        return [list_name]
    files: dict[str, str] = json.loads(listed)
    if (target / CACHES).exists():
        try:
            files |= json.loads((target / CACHES).read_bytes())
        except (OSError, ValueError, TypeError):
            return [CACHES]
    found = {path: digest(f"{target}/{path}") for path in files_below(str(target)) if path not in (list_name, CACHES)}
    for path in [path for path in found if f"{CACHE}/" in path and path not in files]:
        with contextlib.suppress(OSError):
            (target / path).unlink()
        del found[path]
    return sorted(path for path in {*files, *found} if files.get(path) != found.get(path))


def files_below(directory: str) -> list[str]:
    """Paths below a directory of all that is no directory: as text, for that is fast, and a small board has many to read."""
    return [f"{path}/{name}"[len(directory) + 1 :] for path, _, names in os.walk(directory) for name in names]


def digest(path: str) -> str:
    """A file's SHA-256; empty for what is no file, or cannot be read."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:  # noqa: PTH123
            return hashlib.sha256(file.read()).hexdigest()
    except OSError:
        return ""


def write_caches(partial: Path, target: Path) -> None:
    """Compile the agent and the programs now: what Python writes beside them later is removed, and every start would pay."""
    if not (partial / "agent").is_dir():
        return
    import compileall
    import py_compile

    checked = py_compile.PycInvalidationMode.CHECKED_HASH
    compileall.compile_dir(partial, quiet=2, stripdir=str(partial), prependdir=str(target), invalidation_mode=checked)
    runtime = target.parents[1] / "runtime" / "bin" / "python"
    if runtime.exists() and not runtime.samefile(sys.executable):
        command = [
            str(runtime),
            "-I",
            "-S",
            "-m",
            "compileall",
            "-q",
            "--invalidation-mode",
            "checked-hash",
            str(partial),
        ]
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(command, capture_output=True, timeout=COMPILE_SECONDS, check=False)
    written = {path: digest(f"{partial}/{path}") for path in files_below(str(partial)) if f"{CACHE}/" in path}
    (partial / CACHES).write_text(json.dumps(written), encoding="utf-8")


def settle(directory: Path) -> None:
    """Write all of it to the disk, and protect the files from accidents; whoever may remove the directory still can."""
    for path in [*sorted(directory.rglob("*"), reverse=True), directory]:
        sync(path)
        if path.is_file():
            path.chmod(PROTECTED)


def sync(path: Path) -> None:
    """Wait until a file or a directory is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_private(directory: Path) -> None:
    """Make a directory that only this user enters. Raises PermissionError for one that is another user's.

    Somebody else could put there what we would run, or lock it for ever.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    refuse_another_s(directory.parent, (0, os.geteuid()))
    with contextlib.suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    refuse_another_s(directory, (os.geteuid(),))
    directory.chmod(0o700)


def refuse_another_s(directory: Path, owners: tuple[int, ...]) -> None:
    """Raise PermissionError for a directory, or a link, of a user that is none of these."""
    owner = directory.lstat().st_uid
    if owner not in owners:
        raise PermissionError(f"{directory} belongs to user {owner}, not to {os.geteuid()}: remove it there")


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock: agents of nodes that are one machine would replace what another has just begun to use."""
    deadline = time.monotonic() + LOCK_SECONDS
    with path.open("a", encoding="utf-8") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"another process has held {path} for {LOCK_SECONDS:.0f} s") from None
                time.sleep(0.05)
        yield


def read_line() -> bytes:
    """A line of stdin; what there is of it where stdin ends."""
    line = b""
    while not line.endswith(b"\n") and (byte := read_some(1)):
        line += byte
    return line


def read_exactly(size: int) -> bytes:
    """So many bytes of stdin; none where it ends before."""
    parts: list[bytes] = []
    while size and (part := read_some(min(size, 1 << 18))):
        parts.append(part)
        size -= len(part)
    return b"" if size else b"".join(parts)


def read_some(size: int) -> bytes:
    """At most so many bytes; none at the end. Raises TimeoutError where nothing comes."""
    if not select.select([0], [], [], READ_SECONDS)[0]:
        raise TimeoutError(f"nothing came for {READ_SECONDS:.0f} s while the code was sent")
    return os.read(0, size)


def say(**frame: object) -> None:
    """Answer the harness."""
    sys.stdout.write(json.dumps(frame) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
