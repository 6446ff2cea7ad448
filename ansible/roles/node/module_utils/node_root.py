"""What the directory of a node that holds all of ours is, before anything is done with it."""

from __future__ import annotations

import os
import pwd
import re

# A copy of the experiment code is named by its hash; while it is being sent or replaced, also by the receiver's process.
CODE_NAME = re.compile(r"[0-9a-f]{8,64}(\.(new\.|old\.)?\d+)?")


def owner_of(path):
    """Name of the owner, or its number where it has none; None where there is no such file (any more)."""
    try:
        uid = os.lstat(path).st_uid
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
    except OSError:
        return None


def entries(path):
    """Names of what a directory holds; none where there is no directory."""
    try:
        return sorted(os.listdir(path))
    except OSError:
        return []


def is_ours(path, marker):
    """Whether a directory holds what this project has put there, and nothing that looks like another's.

    Everything provisioned carries the marker, or, from before there was one, a runtime of ours. A card image may have brought
    data sets alone, and a machine that only the harness has used has code by its hash, trials and locks.
    """
    if any(os.path.isfile(os.path.join(path, *words)) for words in ([marker], ["runtime", "bundle.json"])):
        return True
    code, data = (entries(os.path.join(path, name)) for name in ("code", "data"))
    return (
        bool(code or data)
        and set(entries(path)) <= {"code", "data", "held", "jobs", "trials"}
        and all(CODE_NAME.fullmatch(name) for name in code)
        and all(os.path.isfile(os.path.join(path, "data", name, "dataset.json")) for name in data)
    )


def describe_root(path, user, marker):
    """What is to be known of the directory that holds all of ours before anything is done with it."""
    real = os.path.realpath(path)
    home = os.path.realpath(pwd.getpwnam(user).pw_dir)
    if not os.path.isdir(real):
        return {
            "exists": os.path.lexists(real), "owner": None, "real": real, "ours": False, "marked": False,
            "empty": False, "holds_home": False, "strangers": False,
        }  # fmt: skip
    inside = [os.path.join(real, name) for name in entries(real)]
    inside += [os.path.join(path, name) for path in inside if not os.path.islink(path) for name in entries(path)]
    return {
        "exists": True,
        "owner": owner_of(real),
        "real": real,
        "ours": is_ours(real, marker),
        "marked": os.path.isfile(os.path.join(real, marker)),
        "empty": not inside,
        "holds_home": os.path.commonpath([real, home]) == real,
        # Two levels tell: what is made over to a user is made over from within (roles/node/tasks/main.yml).
        "strangers": any(owner_of(path) not in (user, None) for path in [real, *inside]),
    }
