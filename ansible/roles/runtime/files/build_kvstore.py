"""Compiles, on the controller, the native key-value store for a node's architecture, and tries it.

    python build_kvstore.py ARCHITECTURE CACHE DIRECTORY

Puts the package `native_kvstore` with its library and its program into DIRECTORY. The compiler is Zig's, a wheel of PyPI that
is pinned by SHA-256 and compiles for both architectures on any controller: nothing is installed on the controller or on
nodes. What is needed of it is unpacked for as long as that is; what it makes is kept in CACHE by the hash of the sources. The
library needs glibc 2.28; the program needs nothing (musl, linked statically).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent / "kvstore"
COMPILER = (
    "ziglang==0.13.0"
    " --hash=sha256:3ce0c9f16547e5d61b32e0d226926e9a2552ef4b91fccf7ab5ea1a623a77824b"  # Linux x86-64
    " --hash=sha256:5714a4d46f9246ba6180a0930e23df2bc8bc26e62b5fe0dc798b4afca1903308"  # Linux aarch64
    " --hash=sha256:5408ad3a6cb342fb4e4e2351a3725adfcae82eaadebe85fdbbdad9c0ac8b1e24"  # macOS arm64
    " --hash=sha256:d1b00173b8a5bfbaccb255240b8c091bd523c13743178bc248355ec6484fced7"  # macOS x86-64
)
OPTIONS = ("-std=c11", "-O3", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-s")
COMMON = ("link.c", "meet.c", "sha256.c")
LIBRARY, PROGRAM = "libkvstore.so", "kvstore"
PRODUCTS = {
    LIBRARY: ("linux-gnu.2.28", ("-shared", "-fPIC"), ("engine.c", "worker.c", *COMMON)),
    PROGRAM: ("linux-musl", ("-static",), ("main.c", "scheduler.c", "server.c", "serve.c", "values.c", *COMMON)),
}
# Of the compiler's 15,000 files: its own headers, what it compiles C libraries from, and Linux's headers.
UNPACKED = ("zig", "lib/compiler_rt", "lib/c.zig", "lib/include/", "lib/std/", "lib/libc/glibc/", "lib/libc/musl/")
HEADERS = ("generic-", "any-linux-any", "x86_64-linux-", "x86-linux-any", "aarch64-linux-")
LIMIT_SECONDS = 900


class BuildError(Exception):
    """The compiler cannot be had, or it or what it made failed."""


def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
    """Run a command; BuildError when it cannot start or does not end."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False, **options)  # type: ignore[call-overload,no-any-return]
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"{command[0]}: {error}") from error


def succeed(command: list[str], **options: object) -> None:
    """Run a command; BuildError with its last lines when it fails."""
    done = run(command, **options)
    if done.returncode != 0:
        said = " ".join((done.stderr or done.stdout).strip().splitlines()[-4:])
        raise BuildError(f"{Path(command[0]).name} failed with exit status {done.returncode}: {said}")


def source_hash(architecture: str) -> str:
    """What the products depend on: sources, compiler, options and architecture."""
    digest = hashlib.sha256(repr((COMPILER, OPTIONS, PRODUCTS, architecture)).encode())
    for path in sorted((HERE / "native").iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def is_needed(name: str) -> bool:
    """Whether a file of the compiler's wheel is needed to compile C for Linux."""
    inner = name.removeprefix("ziglang/")
    return inner.startswith(UNPACKED) or inner.startswith(tuple(f"lib/libc/include/{part}" for part in HEADERS))


def unpack_compiler(directory: Path) -> list[str]:
    """Fetch the compiler and unpack what is needed of it; its command."""
    requirements = directory / "requirements.txt"
    requirements.write_text(COMPILER + "\n", encoding="utf-8")
    succeed(
        [
            *(sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "download", "--no-deps"),
            *("--only-binary=:all:", "--require-hashes", "-d", str(directory), "-r", str(requirements)),
        ]
    )
    for path in directory.glob("ziglang-*.whl"):
        with zipfile.ZipFile(path) as wheel:
            wheel.extractall(directory, filter(is_needed, wheel.namelist()))
        path.unlink()
    program = directory / "ziglang" / "zig"
    program.chmod(0o755)
    return [str(program), "cc"]


def compile_all(compiler: list[str], architecture: str, directory: Path) -> None:
    """Compile library and program into `directory`."""
    environment = {
        **os.environ,
        "ZIG_GLOBAL_CACHE_DIR": str(directory / "zig"),
        "ZIG_LOCAL_CACHE_DIR": str(directory / "zig"),
    }
    for name, (system, options, sources) in PRODUCTS.items():
        files = [str(HERE / "native" / source) for source in sources]
        target = ["-target", f"{architecture}-{system}", "-o", str(directory / name)]
        succeed([*compiler, *OPTIONS, *options, *target, *files], env=environment)
    shutil.rmtree(directory / "zig")


def emulator(architecture: str) -> list[str] | None:
    """What runs a program of that architecture here; None where nothing does."""
    if (platform.system(), platform.machine()) == ("Linux", architecture):
        return []
    found = shutil.which(f"qemu-{architecture}-static") or shutil.which(f"qemu-{architecture}")
    return [found] if found else None


def check_program(program: Path, architecture: str) -> None:
    """Run the program without a role: it must say what it lacks. Where this machine cannot run it, the node will."""
    runner = emulator(architecture)
    if runner is None:
        return
    done = run([*runner, str(program)], env={})
    if done.returncode != 2 or "DMLC_ROLE" not in done.stderr:
        ended = signal.strsignal(-done.returncode) if done.returncode < 0 else f"exit status {done.returncode}"
        raise BuildError(f"the program that was made does not run: {ended} {done.stderr.strip()}")


def products(architecture: str, cache: Path) -> Path:
    """The directory with library and program, which are made where they are not there yet."""
    made = cache / "kvstore" / f"{source_hash(architecture)}-{architecture}"
    made.parent.mkdir(parents=True, exist_ok=True)
    with (made.parent / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if made.is_dir():
            return made
        with tempfile.TemporaryDirectory(prefix=".build-", dir=made.parent) as scratch:
            compiler = unpack_compiler(Path(scratch))
            result = Path(scratch) / "result"
            result.mkdir()
            compile_all(compiler, architecture, result)
            check_program(result / PROGRAM, architecture)
            result.replace(made)
    return made


def install(architecture: str, cache: Path, directory: Path, default: str) -> None:
    """Put the package into `directory`; `default` is the implementation that serves where nothing else is said."""
    made = products(architecture, cache)
    package = directory / "native_kvstore"
    shutil.copytree(HERE / "native_kvstore", package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in PRODUCTS:
        shutil.copy2(made / name, package / name)
        (package / name).chmod(0o755)
    (package / "default").write_text(default + "\n", encoding="utf-8")


def main() -> int:
    """Command line; exits 1 with the reason where it cannot be built."""
    architecture, cache, directory = sys.argv[1:]
    try:
        install(architecture, Path(cache).expanduser(), Path(directory), "native")
    except (BuildError, OSError) as error:
        print(f"the native key-value store cannot be built: {error}. Try: the network", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
