"""The agent on the nodes, seen from the controller: sending it and the experiment code, and asking it things."""

from __future__ import annotations

import hashlib
import io
import tarfile
import time
from collections.abc import Mapping
from pathlib import Path

from harness.errors import BadInputError, NodeError
from harness.inventory import Node
from harness.json_line import Json
from harness.stream import Stream, StreamClosedError
from harness.transport import REPLY_TIMEOUT_SECONDS, Session, Transport

AGENT = "agent"
_REMEDY = "is the node provisioned? ansible-playbook ansible/playbooks/site.yml"
_LEFT_OUT = ("__pycache__", ".yaml", ".pyc")

# Runs on the node before anything of ours is there: says whether the code is present, and unpacks it where it is not. The
# last step is a rename, so that a half-sent copy is never taken for whole.
_RECEIVE = """
import io, json, os, shutil, sys, tarfile
root, name = sys.argv[1:3]
target = os.path.join(root, "code", name)
def say(**frame):
    sys.stdout.write(json.dumps(frame) + chr(10))
    sys.stdout.flush()
try:
    present = os.path.isdir(target)
    say(present=present)
    if not present:
        size = int(sys.stdin.buffer.readline())
        data = sys.stdin.buffer.read(size)
        if len(data) == size:
            partial = "%s.%d" % (target, os.getpid())
            os.makedirs(partial)
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                # Debian 12's Python has no extraction filters yet; the archive is the controller's own.
                archive.extractall(partial, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
            try:
                os.rename(partial, target)
            except OSError:
                shutil.rmtree(partial)
                if not os.path.isdir(target):
                    raise
            say(present=True)
    if sys.argv[3:]:
        # The agent goes on in this interpreter: a second one would cost a small board half a second.
        sys.path.insert(0, target)
        from agent.command import main
        main(sys.argv[3])
except OSError as error:
    say(error=str(error))
"""


class Code:
    """The content of `experiments/` (or of a script's directory): its hash names it on the nodes."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.archive = _pack(files)
        self.hash = hashlib.sha256(self.archive).hexdigest()[:16]

    @classmethod
    def of(cls, directory: Path) -> Code:
        """All files below a directory but declarations and caches. Raises BadInputError where it cannot be read."""
        files = {}
        try:
            for path in sorted(directory.rglob("*")):
                if path.is_file() and not any(part.endswith(_LEFT_OUT) for part in path.relative_to(directory).parts):
                    files[path.relative_to(directory).as_posix()] = path.read_bytes()
        except OSError as error:
            raise BadInputError(f"cannot read {directory}: {error}") from None
        return cls(files)

    def send(self, transport: Transport) -> bool:
        """Put the code on a node unless it is there; True where it was sent. Raises NodeError."""
        stream, sent = self._hand_over(transport, [])
        stream.close()
        return sent

    def enter(self, session: Session, node: Node) -> Json:
        """Put the code on a node unless it is there, and ask its agent at once; `asked_at` of the answer says when.

        The agent's stream is parked in the session: it is the one that may hold the node. Raises NodeError.
        """
        stream, _ = self._hand_over(session.to(node), ["enter"])
        session.park(node, stream)
        asked = time.time()
        try:
            stream.send_line({"root": node.root, "node": node.name, "supervisor": node.supervisor})
            answer = _frame(node, stream.read_frame(REPLY_TIMEOUT_SECONDS))
        except (TimeoutError, StreamClosedError) as error:
            reason = f"its agent does not answer: {error} {stream.errors().strip()[-300:]}"
            raise NodeError(node.name, reason, _REMEDY) from None
        return {**answer, "asked_at": asked}

    def _hand_over(self, transport: Transport, verbs: list[str]) -> tuple[Stream, bool]:
        """A stream on which the code is in place, and whether it had to be sent. Raises NodeError."""
        node = transport.node
        stream = transport.open([node.python, "-I", "-S", "-c", _RECEIVE, node.root, self.hash, *verbs])
        try:
            sent = not _frame(node, stream.read_frame(REPLY_TIMEOUT_SECONDS))["present"]
            if sent:
                stream.write(f"{len(self.archive)}\n".encode() + self.archive)
                _frame(node, stream.read_frame(REPLY_TIMEOUT_SECONDS))
        except TimeoutError:
            stream.close()
            raise NodeError(node.name, f"did not take the code within {REPLY_TIMEOUT_SECONDS} s") from None
        except StreamClosedError as error:
            reason = f"sending the code failed: {error} {stream.errors().strip()[-300:]}"
            stream.close()
            raise NodeError(node.name, reason, _REMEDY) from None
        except NodeError:
            stream.close()
            raise
        return stream, sent


def _frame(node: Node, found: tuple[Json, bytes] | None) -> Json:
    if found is None:
        raise StreamClosedError("no answer")
    if "error" in found[0]:
        raise NodeError(node.name, f"cannot store the code: {found[0]['error']}", _REMEDY)
    return found[0]


def _pack(files: Mapping[str, bytes]) -> bytes:
    """A tar archive whose bytes depend on names and contents alone."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in sorted(files):
            entry = tarfile.TarInfo(name)
            entry.size = len(files[name])
            entry.mode = 0o755  # also programs that are no Python
            archive.addfile(entry, io.BytesIO(files[name]))
    return buffer.getvalue()


def agent_command(node: Node, code: str, verb: str) -> list[str]:
    """The command that runs a verb of the agent on a node."""
    return [node.python, "-I", "-S", f"{node.root}/code/{code}/{AGENT}", verb]


def ask(transport: Transport, code: str, verb: str, timeout: float = REPLY_TIMEOUT_SECONDS, **request: object) -> Json:
    """One question, one answer. Raises NodeError, also for an error that the agent itself met."""
    node = transport.node
    message = {"root": node.root, "node": node.name, "supervisor": node.supervisor, **request}
    answer = transport.request(agent_command(node, code, verb), message, timeout=timeout)
    if answer.get("frame") == "error":
        raise NodeError(node.name, str(answer["error"]))
    return answer
