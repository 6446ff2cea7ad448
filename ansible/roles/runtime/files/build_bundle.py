"""Builds, on the controller, the archive that a node unpacks into its runtime: wheels installed once for all nodes of a kind.

Reads a request from standard input, prints the path of the archive:
{"id", "cache", "python": "3.11", "architecture": "x86_64", "files": directory of this script's companions,
 "wheels": [{"file", "sha256", "requirement" | "source"}],
 "kvstore": "native" | "mxnet", which distributed store serves by default; without this there is no native one}

Wheels are kept in <cache>/wheels and archives in <cache>/runtimes; what is there is used again. Wheels are checked against
their SHA-256 before anything is taken from them. Several builds at once wait for one another.
"""

import compileall
import fcntl
import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

import build_kvstore

PIP_SECONDS = 1800
URL_SECONDS = 120


def fail(message, remedy):
    sys.exit(f"{message}. Try: {remedy}")


def sha256(path):
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def pip(*arguments):
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PIP_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        fail(f"pip {arguments[0]} did not end within {PIP_SECONDS} s", "the connection to the package index")
    if done.returncode != 0:
        reason = (done.stderr or done.stdout).strip().splitlines()
        said = " ".join(reason[-4:])
        fail(f"pip {arguments[0]} failed on the controller: {said}", f"{sys.executable} -m pip, and the network")


def target_options(request):
    """pip's words for the node's interpreter, which need not be the controller's."""
    options = ["--only-binary=:all:", "--implementation=cp", f"--python-version={request['python']}"]
    for platform in ("manylinux2014", "manylinux_2_17", "manylinux_2_28"):
        options.append(f"--platform={platform}_{request['architecture']}")
    return options


def download(wheels, request, directory):
    """Fetch the wheels that come from the package index, all in one go."""
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        requirements = Path(scratch) / "requirements.txt"
        lines = [f"{wheel['requirement']} --hash=sha256:{wheel['sha256']}" for wheel in wheels]
        requirements.write_text("\n".join(lines) + "\n", encoding="utf-8")
        pip(
            "download",
            "--no-deps",
            "--require-hashes",
            "-d",
            scratch,
            "-r",
            str(requirements),
            *target_options(request),
        )
        for found in Path(scratch).glob("*.whl"):
            os.replace(found, directory / found.name)


def fetch(wheel, target):
    """Copy or download a wheel that was named by path or URL."""
    source = wheel["source"]
    scratch = target.with_name(target.name + ".part")
    try:
        if "://" in source:
            # The URL is the user's own.
            with urllib.request.urlopen(source, timeout=URL_SECONDS) as response, open(scratch, "wb") as stream:  # noqa: S310
                shutil.copyfileobj(response, stream)
        else:
            shutil.copyfile(Path(source).expanduser(), scratch)
    except (OSError, urllib.error.URLError) as error:
        fail(f"wheel {source} cannot be read: {error}", "the path or URL in runtime_mxnet_wheel")
    os.replace(scratch, target)


def gather(request, directory):
    """Have every wheel in the cache, with the content that was asked for."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = {wheel["file"]: directory / wheel["file"] for wheel in request["wheels"]}
    wanting = [w for w in request["wheels"] if not paths[w["file"]].exists() or sha256(paths[w["file"]]) != w["sha256"]]
    for wheel in wanting:
        paths[wheel["file"]].unlink(missing_ok=True)
        if "source" in wheel:
            fetch(wheel, paths[wheel["file"]])
    indexed = [wheel for wheel in wanting if "source" not in wheel]
    if indexed:
        download(indexed, request, directory)
    for wheel in wanting:
        path = paths[wheel["file"]]
        found = sha256(path) if path.exists() else "nothing"
        if found != wheel["sha256"]:
            path.unlink(missing_ok=True)
            fail(
                f"wheel {wheel['file']} has SHA-256 {found}, not {wheel['sha256']}",
                "the right wheel, or the right SHA-256",
            )
    return list(paths.values())


def install(request, wheels, tree):
    """Lay out lib/python3.x/site-packages as it will be in the node's virtual environment."""
    packages = tree / "lib" / f"python{request['python']}" / "site-packages"
    packages.mkdir(parents=True)
    pip("install", "--no-index", "--no-deps", "--no-compile", "--target", str(packages), *target_options(request),
        *map(str, wheels))  # fmt: skip
    shutil.rmtree(packages / "bin", ignore_errors=True)
    files = Path(request["files"])
    for companion in sorted(files.glob("_*.p*")):  # modules that Python loads by itself
        shutil.copy2(companion, packages / companion.name)
    if "kvstore" in request:
        try:
            build_kvstore.install(
                request["architecture"], Path(request["cache"]).expanduser(), packages, request["kvstore"]
            )
        except (build_kvstore.BuildError, OSError) as error:
            fail(f"the native key-value store cannot be built: {error}", "the connection to the package index")
    shutil.copy2(files / "verify.py", tree / "verify.py")
    state = {"id": request["id"], "wheels": {wheel["file"]: wheel["sha256"] for wheel in request["wheels"]}}
    if "kvstore" in request:
        state["kvstore"] = request["kvstore"]
    (tree / "bundle.json").write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")
    if request["python"] == "{}.{}".format(*sys.version_info[:2]):
        # Byte code of this interpreter is byte code of the node's; a slow node saves its first import.
        compileall.compile_dir(packages, quiet=2, stripdir=str(tree))


def pack(tree, archive):
    scratch = archive.with_name(archive.name + ".part")
    with gzip.open(scratch, "wb", compresslevel=6) as stream, tarfile.open(fileobj=stream, mode="w") as tar:
        for path in sorted(tree.iterdir()):
            tar.add(path, arcname=path.name)
    os.replace(scratch, archive)


def main():
    request = json.load(sys.stdin)
    cache = Path(request["cache"]).expanduser()
    archive = cache / "runtimes" / f"{request['id']}.tar.gz"
    archive.parent.mkdir(parents=True, exist_ok=True)
    with open(archive.parent / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not archive.exists():
            wheels = gather(request, cache / "wheels")
            with tempfile.TemporaryDirectory(dir=archive.parent) as scratch:
                install(request, wheels, Path(scratch) / "tree")
                pack(Path(scratch) / "tree", archive)
    print(archive)


if __name__ == "__main__":
    main()
