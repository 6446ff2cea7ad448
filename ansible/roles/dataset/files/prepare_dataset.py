"""Makes, on the controller, the archive of a data set that a node unpacks: its files, checked.

Reads a request from standard input, prints the path of the archive:
{"name", "cache", "directory": "" or where the files are, "variable": of the environment that names it, "mirrors": [URL],
 "known": {file: {"sha256"} | {"gzip_sha256"} | {"member", "sha256" or not}}, "archive": {} or {"file", "sha256"}}

Files are taken from the directory (with .gz or plain), else downloaded. `sha256` is of the content, `gzip_sha256` of the .gz.
A file with `member` is that member of the authors' own tar archive, which is taken from the same places.
"""

import fcntl
import gzip
import hashlib
import io
import json
import os
import sys
import tarfile
import tempfile
import urllib.request
import zlib
from pathlib import Path

URL_SECONDS = 60


class WrongFileError(Exception):
    """A file is absent, truncated or another than the one that was asked for."""


def fail(message, remedy):
    sys.exit(f"{message}. Try: {remedy}")


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def content(name, packed, plain, wanted):
    """The checked content of a file, from its gzip bytes or its plain bytes (the other is None), with the gzip's SHA-256."""
    origin = wanted.get("gzip_sha256")
    if packed is None and origin:
        raise WrongFileError(f"{name}.gz is needed: only the SHA-256 of the gzip file is published")
    if packed is not None:
        if origin and sha256(packed) != origin:
            raise WrongFileError(f"{name}.gz has SHA-256 {sha256(packed)}, not {origin}")
        try:
            plain = gzip.decompress(packed)
        except (OSError, EOFError, zlib.error) as error:
            raise WrongFileError(f"{name}.gz is damaged or truncated: {error}") from None
    if "sha256" in wanted and sha256(plain) != wanted["sha256"]:
        raise WrongFileError(
            f"{name} is truncated or another file: its content has SHA-256 {sha256(plain)}, not {wanted['sha256']}"
        )
    return plain, sha256(packed) if packed is not None else None


def from_directory(name, wanted, directory):
    packed, plain = directory / f"{name}.gz", directory / name
    try:
        if packed.is_file():
            return content(name, packed.read_bytes(), None, wanted)
        if plain.is_file():
            return content(name, None, plain.read_bytes(), wanted)
    except OSError as error:
        raise WrongFileError(f"{name} cannot be read: {error}") from None
    raise WrongFileError(f"neither {name} nor {name}.gz is there")


def downloaded(url):
    with urllib.request.urlopen(url, timeout=URL_SECONDS) as response:  # noqa: S310 - the mirrors are the inventory's
        return response.read()


def from_mirrors(name, wanted, mirrors):
    failures = []
    for mirror in mirrors:
        for suffix in (".gz",) if "gzip_sha256" in wanted else (".gz", ""):
            url = f"{mirror}{name}{suffix}"
            try:
                data = downloaded(url)
                return content(name, data, None, wanted) if suffix else content(name, None, data, wanted)
            except (OSError, WrongFileError) as error:
                failures.append(f"{url}: {error}")
    raise WrongFileError(f"{name} from no mirror ({'; '.join(failures)})")


def authors_archive(request, directory):
    """The checked tar archive that members are taken from."""
    name, wanted = request["archive"]["file"], {"sha256": request["archive"]["sha256"]}
    data, _ = from_directory(name, wanted, directory) if directory else from_mirrors(name, wanted, request["mirrors"])
    try:
        return tarfile.open(fileobj=io.BytesIO(data))
    except tarfile.TarError as error:
        raise WrongFileError(f"{name} is no tar archive: {error}") from None


def from_archive(name, wanted, archive):
    try:
        member = archive.extractfile(wanted["member"])
    except (KeyError, tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise WrongFileError(f"{name} cannot be taken from the archive: {error}") from None
    if member is None:
        raise WrongFileError(f"{wanted['member']} of the archive is no file")
    return content(name, None, member.read(), wanted)


def gathered(request):
    """By name, the content of every file and its line in dataset.json."""
    directory = Path(request["directory"]).expanduser() if request["directory"] else None
    archive = None
    for name, wanted in request["known"].items():
        beside = directory and "sha256" in wanted and (directory / name).is_file()
        written = {}
        if "member" in wanted and not beside:
            archive = archive or authors_archive(request, directory)
            data, origin = from_archive(name, wanted, archive)
            written["archive_sha256"] = request["archive"]["sha256"]
        elif directory:
            data, origin = from_directory(name, wanted, directory)
        else:
            data, origin = from_mirrors(name, wanted, request["mirrors"])
        yield name, data, {"bytes": len(data), "sha256": sha256(data), "gzip_sha256": origin, **written}


def pack(tree, archive):
    with gzip.open(archive, "wb", compresslevel=6) as stream, tarfile.open(fileobj=stream, mode="w") as tar:
        for path in sorted(tree.iterdir()):
            tar.add(path, arcname=path.name)


def prepare(request, archive):
    """Check all files, then write the archive; nothing is left behind where one is wrong."""
    with tempfile.TemporaryDirectory(dir=archive.parent) as scratch:
        tree = Path(scratch) / "tree"
        tree.mkdir()
        files = {}
        for name, data, written in gathered(request):
            (tree / name).write_bytes(data)
            files[name] = written
        (tree / "dataset.json").write_text(json.dumps({"files": files}, indent=1) + "\n", encoding="utf-8")
        pack(tree, Path(scratch) / "archive")
        os.replace(Path(scratch) / "archive", archive)


def origin_of(request):
    """What the archive would be made from: names, sizes and times of the files in the directory that was named."""
    directory = Path(request["directory"]).expanduser()
    names = [*request["known"], *([request["archive"]["file"]] if request.get("archive") else [])]
    paths = sorted(path for name in names for path in (directory / name, directory / f"{name}.gz") if path.is_file())
    return [[str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns] for path in paths]


def up_to_date(request, archive, origin):
    """A directory that was named is looked at, even where the cache would do: a mistake in it is told, not covered up."""
    if not archive.exists() or not request["directory"]:
        return archive.exists()
    try:
        return json.loads(origin.read_text(encoding="utf-8")) == origin_of(request)
    except (OSError, ValueError):
        return False


def main():
    request = json.load(sys.stdin)
    wanted = [request["known"], *([request["archive"]] if request.get("archive") else [])]
    identity = sha256(json.dumps(wanted, sort_keys=True).encode())[:16]
    archive = Path(request["cache"]).expanduser() / "datasets" / f"{request['name']}-{identity}.tar.gz"
    archive.parent.mkdir(parents=True, exist_ok=True)
    with open(archive.parent / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        origin = archive.with_suffix(".origin")
        if not up_to_date(request, archive, origin):
            try:
                prepare(request, archive)
                if request["directory"]:
                    origin.write_text(json.dumps(origin_of(request)), encoding="utf-8")
            except WrongFileError as error:
                where = request["directory"] or "the mirrors"
                variable = f" or {request['variable']}" if request.get("variable") else ""
                fail(
                    f"data set {request['name']} in {where}: {error}",
                    f"a directory with the original's files, in dataset_directories.{request['name']}{variable}",
                )
    print(archive)


if __name__ == "__main__":
    main()
