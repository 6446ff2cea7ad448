#!/usr/bin/python
"""Ansible module: pack what only this node has."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pack_node
short_description: Pack what only a node has into one archive
description:
  - What trials and launches left below the root, what runtimes and data sets say of themselves, files of the system, and the
    list of packages. Not what can be made again, such as the runtimes themselves.
  - Not the files in which ranks got their environment, which holds secrets.
  - In check mode nothing is written; the answer is the same.
options:
  root: {type: path, required: true, description: The directory on the node that holds all of ours.}
  files: {type: list, elements: path, default: [], description: Further files and directories; absent ones are left out.}
  dest: {type: path, required: true, description: The archive (tar, gzip); the user who logged in gets it.}
"""

import contextlib
import glob
import io
import os
import pwd
import subprocess
import tarfile
import time

from ansible.module_utils.basic import AnsibleModule

COMMAND_SECONDS = 60
WHOLE = ("trials", "jobs")
FACTS = ("runtime/*.json", "runtimes/*/*.json", "data/*/dataset.json")
SECRETS = ("spec.json",)


def wanted(root, files):
    """Paths of files and directories to pack, those that are there."""
    found = [os.path.join(root, name) for name in WHOLE]
    for pattern in FACTS:
        found += sorted(glob.glob(os.path.join(glob.escape(root), pattern)))
    return [path for path in dict.fromkeys([*found, *files]) if os.path.lexists(path)]


def files_below(paths):
    """The files of `paths` and below them that are packed, with their bytes; those that went meanwhile are left out."""
    for path in paths:
        inside = [path] if not os.path.isdir(path) or os.path.islink(path) else []
        for base, _, names in os.walk(path) if not inside else ():
            inside += [os.path.join(base, name) for name in sorted(names)]
        for each in inside:
            if os.path.basename(each) not in SECRETS:
                with contextlib.suppress(FileNotFoundError):
                    yield each, os.lstat(each).st_size


def packages():
    """The installed packages with their versions, a line each; nothing where this is no Debian."""
    command = ["dpkg-query", "--show", "--showformat=${binary:Package} ${Version}\n"]
    try:
        return subprocess.run(command, capture_output=True, timeout=COMMAND_SECONDS, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return b""


def pack(dest, files):
    with tarfile.open(dest, "w:gz") as archive:
        for path, _ in files:
            with contextlib.suppress(FileNotFoundError):  # a trial that went meanwhile
                archive.add(path, recursive=False)
        listing = tarfile.TarInfo("packages.txt")
        content = packages()
        listing.size, listing.mtime = len(content), int(time.time())
        archive.addfile(listing, io.BytesIO(content))


def main():
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "files": {"type": "list", "elements": "path", "default": []},
            "dest": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    files = list(files_below(wanted(module.params["root"], module.params["files"])))
    if not module.check_mode:
        os.umask(0o077)
        try:
            pack(module.params["dest"], files)
        except OSError as error:
            module.fail_json(msg=f"cannot pack: {error}. Try: whether the node's disk is full")
        # The user who logged in, also where this module runs as root.
        user = os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name
        module.set_owner_if_different(module.params["dest"], user, changed=False)
    module.exit_json(changed=True, packed=len(files), bytes=sum(size for _, size in files))


if __name__ == "__main__":
    main()
