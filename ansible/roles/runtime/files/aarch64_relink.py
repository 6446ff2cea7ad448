"""Make MXNet's aarch64 wheel of PyPI loadable on plain Debian: link it to Debian's libraries instead of Arm's.

    python aarch64_relink.py WHEEL SHA256

The wheel needs libarmpl_lp64_mp, libamath and libastring, which no Pi has. OpenBLAS and LAPACKE export the same
symbols; the string functions fall back to the C library's. WHEEL is the relinked wheel to make, SHA256 its hash:
patchelf's version is pinned and nothing is compressed, so that every controller makes the same bytes. Runs on the
controller, once; the result is kept.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

SOURCE = "mxnet-1.9.1-py3-none-manylinux2014_aarch64.whl"
SOURCE_REQUIREMENT = "mxnet==1.9.1 --hash=sha256:5e51a0c05d99f8f1b3b5e7c02170be57af2e6edb3ad9af2cb9551ace3e22942c"
PATCHELF_REQUIREMENT = (
    "patchelf==0.17.2.4"
    " --hash=sha256:d9b35ebfada70c02679ad036407d9724ffe1255122ba4ac5e4be5868618a5689"  # Linux x86-64
    " --hash=sha256:2931a1b5b85f3549661898af7bf746afbda7903c7c9a967cfc998a3563f84fad"  # Linux aarch64
    " --hash=sha256:343bb1b94e959f9070ca9607453b04390e36bbaa33c88640b989cefad0aa049e"  # macOS
)
SOURCE_PLATFORM = ("--platform=manylinux2014_aarch64", "--python-version=3.11", "--implementation=cp")
LIBRARY = "mxnet/libmxnet.so"
REPLACE = {"libarmpl_lp64_mp.so": "libopenblas.so.0", "libamath.so": "liblapacke.so.3"}
REMOVE = ("libastring.so",)
LIMIT_SECONDS = 1800


class RelinkError(Exception):
    """The wheel is not the one expected, or a tool failed."""


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content, hexadecimal; empty where there is no file."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def run(*argv: str | Path) -> str:
    """Run a command and return its standard output; RelinkError when it fails or does not end."""
    try:
        done = subprocess.run(
            [str(word) for word in argv], capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise RelinkError(f"{argv[0]}: {exc}") from exc
    if done.returncode != 0:
        reason = (done.stderr or done.stdout).strip().splitlines()
        raise RelinkError(f"{argv[0]} failed with exit status {done.returncode}: {' '.join(reason[-4:])}")
    return done.stdout


def pip(scratch: Path, requirement: str, *arguments: str | Path) -> None:
    """Let this interpreter's pip do something with one requirement, pinned by its hash, without what it depends on."""
    requirements = scratch / "requirements.txt"
    requirements.write_text(requirement + "\n", encoding="utf-8")
    run(
        *(sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments),
        *("--no-deps", "--only-binary=:all:", "--require-hashes", "-r", requirements),
    )


def patchelf_arguments(needed: list[str]) -> list[str]:
    """Options of patchelf for a library that needs `needed`; RelinkError when it is not linked as MXNet 1.9.1's is."""
    missing = [name for name in (*REPLACE, *REMOVE) if name not in needed]
    if missing:
        raise RelinkError(f"{LIBRARY} does not need {', '.join(missing)}: this is not MXNet 1.9.1's wheel of PyPI")
    options = [part for old, new in REPLACE.items() for part in ("--replace-needed", old, new)]
    return options + [part for name in REMOVE for part in ("--remove-needed", name)]


def replace_record(record: str, name: str, content: bytes) -> str:
    """A wheel's RECORD with the line of `name` made anew; RelinkError when it has not one."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    lines = record.splitlines()
    at = [number for number, line in enumerate(lines) if line.startswith(f"{name},")]
    if len(at) != 1:
        raise RelinkError(f"the wheel's RECORD has {len(at)} lines for {name}, expected one")
    lines[at[0]] = f"{name},sha256={digest},{len(content)}"
    return "\n".join(lines) + "\n"


def rewrite(source: Path, target: Path, library: bytes) -> None:
    """Write the wheel `source` to `target` with `library` in it and its RECORD right; all else as it was."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.infolist():
            content = old.read(entry)
            if entry.filename == LIBRARY:
                content = library
            elif entry.filename.endswith(".dist-info/RECORD"):
                content = replace_record(content.decode(), LIBRARY, library).encode()
            entry.compress_type = zipfile.ZIP_STORED  # compressors differ between machines
            new.writestr(entry, content)


def relinked_library(source: Path, scratch: Path) -> bytes:
    """The wheel's shared library linked to Debian's libraries."""
    pip(scratch, PATCHELF_REQUIREMENT, "install", "--target", scratch / "patchelf")
    patchelf = scratch / "patchelf" / "bin" / "patchelf"
    with zipfile.ZipFile(source) as wheel:
        library = Path(wheel.extract(LIBRARY, scratch))
    run(patchelf, *patchelf_arguments(run(patchelf, "--print-needed", library).split()), library)
    return library.read_bytes()


def make(wheel: Path, expected: str) -> bool:
    """Make the relinked wheel where it is not there yet; True when it was made."""
    wheel.parent.mkdir(parents=True, exist_ok=True)
    with wheel.with_suffix(".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if file_sha256(wheel) == expected:
            return False
        with tempfile.TemporaryDirectory(prefix=".relink-", dir=wheel.parent) as directory:
            scratch = Path(directory)
            pip(scratch, SOURCE_REQUIREMENT, "download", "-d", scratch, *SOURCE_PLATFORM)
            result = scratch / wheel.name
            rewrite(scratch / SOURCE, result, relinked_library(scratch / SOURCE, scratch))
            found = file_sha256(result)
            if found != expected:
                raise RelinkError(f"the relinked wheel has SHA-256 {found}, expected {expected}")
            result.replace(wheel)
    return True


def main() -> int:
    """Command line; prints whether the wheel was made, exits 1 with the reason where it cannot be."""
    try:
        print("made" if make(Path(sys.argv[1]), sys.argv[2]) else "kept")
    except (RelinkError, OSError, zipfile.BadZipFile) as exc:
        remedy = "the network, or a wheel of your own in runtime_mxnet_wheel"
        print(f"MXNet's wheel for aarch64 cannot be relinked: {exc}. Try: {remedy}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
