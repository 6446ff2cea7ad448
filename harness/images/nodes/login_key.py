"""The key pair that may log in to the nodes."""

from __future__ import annotations

from pathlib import Path

from harness.errors import BadInputError, ImageError
from harness.system.packages import require
from harness.system.ssh import ensure_key


def find_key(private: Path, *, may_make: bool) -> tuple[str, bool]:
    """The public half of the key pair of file `private`, and whether it was made now, which `may_make` allows.

    Raises BadInputError where there is no public half; a private key that is there is never touched.
    """
    public = private.with_name(private.name + ".pub")
    made = not private.exists() and may_make
    if made:
        require("ssh-keygen")
        ensure_key(private, "harness", ImageError)
    if not public.is_file():
        raise BadInputError(
            f"{public}: no such public key",
            f"ssh-keygen -t ed25519 -f {private}, or name your own in image_node_key_file",
        )
    return public.read_text(encoding="utf-8").strip(), made
