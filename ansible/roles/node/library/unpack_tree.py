#!/usr/bin/python
"""Ansible module: put the content of an archive in the place of a directory, whole or not at all."""

from __future__ import annotations

DOCUMENTATION = r"""
module: unpack_tree
short_description: Replace a directory by the content of an archive
description:
  - Unpacks next to the destination and renames; an interrupted run leaves the old directory or none, never half a new one.
  - Reads the archive once; C(ansible.builtin.unarchive) reads it three times, which a slow node notices.
options:
  archive: {type: path, required: true, description: A tar archive on the node; it is removed when it has been unpacked.}
  dest: {type: path, required: true, description: The directory to make or to replace.}
  virtual_environment: {type: bool, default: false, description: Make it a virtual environment of this interpreter first.}
"""

import os
import shutil
import subprocess
import sys
import tarfile

from ansible.module_utils.basic import AnsibleModule

VENV_SECONDS = 300


def unpack(archive, dest, virtual_environment):
    new, old = dest + ".new", dest + ".old"
    os.makedirs(os.path.dirname(dest), exist_ok=True)
    for leftover in (new, old):
        shutil.rmtree(leftover, ignore_errors=True)
    if virtual_environment:
        command = [sys.executable, "-m", "venv", "--without-pip", "--symlinks", new]
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=VENV_SECONDS)
    else:
        os.mkdir(new)
    with tarfile.open(archive) as tar:
        if hasattr(tarfile, "data_filter"):
            tar.extraction_filter = tarfile.data_filter
        tar.extractall(new)  # noqa: S202 - filtered above, and made by our own controller
    if os.path.isdir(dest):
        os.rename(dest, old)
    os.rename(new, dest)
    shutil.rmtree(old, ignore_errors=True)
    os.unlink(archive)


def main():
    module = AnsibleModule(
        argument_spec={
            "archive": {"type": "path", "required": True},
            "dest": {"type": "path", "required": True},
            "virtual_environment": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    archive, dest = module.params["archive"], module.params["dest"]
    if module.check_mode:
        module.exit_json(changed=True)
    try:
        unpack(archive, dest, module.params["virtual_environment"])
    except subprocess.CalledProcessError as error:
        reason = (error.stderr or error.stdout or str(error)).strip()
        module.fail_json(
            msg=f"{dest}: no virtual environment with {sys.executable}: {reason}. Try: install python3-venv"
        )
    except (OSError, tarfile.TarError, subprocess.TimeoutExpired) as error:
        module.fail_json(
            msg=f"{archive} was not unpacked to {dest}: {error}. Try: free space on the node, run site.yml again"
        )
    module.exit_json(changed=True)


if __name__ == "__main__":
    main()
