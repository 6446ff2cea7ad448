"""The agent on the nodes, seen from the controller: sending it and the experiment code, and asking it things."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from harness.contract import wire
from harness.contract.json_line import Json
from harness.errors import BadInputError, NodeError
from harness.nodes.inventory import HOME, Node
from harness.nodes.session import ANSWER_SECONDS, Session, on_all
from harness.nodes.stream import SHELL_REMEDY, SLOW_REMEDY, Stream, StreamClosedError
from harness.nodes.transport import REPLY_TIMEOUT_SECONDS, Transport, transfer_seconds
from harness.paths import EXPERIMENTS
from harness.system.archive import tar_bytes

_REMEDY = "is the node provisioned? harness provision, with -K where sudo asks for a password"
CHECK_REMEDY = "harness check tells who holds the node, and what it lacks"
_CACHES = ("__pycache__", ".pyc")
_ASK_HOME = "import json, os; print(json.dumps({'home': os.path.expanduser('~')}))"


class Code:
    """The content of `experiments/` (or of a script's directory): its hash names it on the nodes.

    The hash is that of a list with the SHA-256 of every file. The list goes along, so that a node can tell whether it has
    exactly this code.
    """

    def __init__(self, files: Mapping[str, bytes]) -> None:
        digests = {name: hashlib.sha256(files[name]).hexdigest() for name in sorted(files)}
        listed = json.dumps(digests, indent=0).encode()
        self.files = frozenset(files)
        """Paths below the directory."""
        self.archive = tar_bytes({**files, wire.CODE_LIST: listed}, mode=0o755)  # also programs that are no Python
        self.hash = hashlib.sha256(listed).hexdigest()[:16]

    @classmethod
    def of(cls, directory: Path, left_out: Callable[[Path], bool] = lambda _: False) -> Code:
        """All files below a directory but caches, and what `left_out` says of a path relative to it.

        Raises BadInputError where it cannot be read.
        """
        files = {}
        try:
            for path in sorted(directory.rglob("*")):
                name = path.relative_to(directory)
                if path.is_file() and not left_out(name) and not any(part.endswith(_CACHES) for part in name.parts):
                    files[name.as_posix()] = path.read_bytes()
        except OSError as error:
            raise BadInputError(f"cannot read {directory}: {error}") from None
        return cls(files)

    def limits(self, nodes: Sequence[Node]) -> dict[str, float]:
        """How long each node may need to take the code and to answer."""
        return {node.name: ANSWER_SECONDS + transfer_seconds(len(self.archive)) for node in nodes}

    def send(self, transport: Transport) -> bool:
        """Put the code on a node unless it is there as it should be; True where it was sent. Raises NodeError."""
        stream, answer = self._hand_over(transport, [])
        stream.close()
        return not answer["present"]

    def enter(self, session: Session, node: Node) -> Json:
        """Put the code on a node unless it is there as it should be, and ask its agent at once.

        `asked_at` of the answer says when it was asked; `wrong_code` names the first few files of the code that had been
        changed or lost on the node, and were replaced; `noise` is what its login shell printed. The agent's stream is parked
        in the session: it is the one that may hold the node. Raises NodeError.
        """
        stream, found = self._hand_over(session.to(node), [wire.ENTER])
        session.park(node, stream)
        asked = time.time()
        try:
            stream.send_line(request_to(node))
            answer = _frame(node, stream.read_frame(REPLY_TIMEOUT_SECONDS))
        except (TimeoutError, StreamClosedError) as error:
            reason = f"its agent does not answer: {error} {stream.errors().strip()[-300:]}"
            raise NodeError(node.name, reason, _REMEDY) from None
        noise = stream.noise.decode(errors="replace").strip()
        return {**answer, "asked_at": asked, "wrong_code": found.get("wrong", []), "noise": noise}

    def _hand_over(self, transport: Transport, verbs: list[str]) -> tuple[Stream, Json]:
        """A stream on which the code is in place, and what the node said of the code that it had. Raises NodeError."""
        node = transport.node
        stream = transport.open(
            [*node.interpreter, "-I", "-S", "-c", _receiver(), node.root, self.hash, wire.CODE_LIST, *verbs]
        )
        try:
            answer = _frame(node, stream.read_frame(REPLY_TIMEOUT_SECONDS))
            if not answer["present"]:
                stream.write(f"{len(self.archive)}\n".encode() + self.archive)
                _frame(node, stream.read_frame(REPLY_TIMEOUT_SECONDS))
        except TimeoutError:
            stream.close()
            raise NodeError(node.name, f"did not take the code within {REPLY_TIMEOUT_SECONDS} s", SLOW_REMEDY) from None
        except StreamClosedError as error:
            reason = f"sending the code failed: {error} {stream.errors().strip()[-300:]}"
            stream.close()
            raise NodeError(node.name, reason, SHELL_REMEDY if stream.noise else _REMEDY) from None
        except NodeError:
            stream.close()
            raise
        return stream, answer


@cache
def _receiver() -> str:
    """What runs on a node before anything of ours is there."""
    return (EXPERIMENTS / wire.AGENT / "receive.py").read_text(encoding="utf-8")


def in_homes(session: Session, nodes: Sequence[Node]) -> tuple[Node, ...]:
    """The nodes, with roots that are below their user's home where that is, as the nodes say themselves. Raises NodeError."""

    def found(node: Node) -> Node:
        if not node.root.startswith(f"{HOME}/"):
            return node
        answer = session.to(node).request([node.python, "-I", "-S", "-c", _ASK_HOME], {})
        home = str(answer.get("home"))
        if not home.startswith("/"):
            raise NodeError(node.name, f"its user {node.user} has no home: {home[:200]!r}", "give that user one there")
        return replace(node, root=home.rstrip("/") + node.root.removeprefix(HOME))

    known = []
    for _, answer in on_all(nodes, found):
        if isinstance(answer, NodeError):
            raise answer
        known.append(answer)
    return tuple(known)


def send_everywhere(session: Session, nodes: Sequence[Node], code: Code) -> None:
    """Put code on all nodes that lack it. Raises NodeError for the first that does not take it."""
    for _, answer in on_all(nodes, lambda node: code.send(session.to(node)), code.limits(nodes)):
        if isinstance(answer, NodeError):
            raise answer


def _frame(node: Node, found: tuple[Json, bytes] | None) -> Json:
    if found is None:
        raise StreamClosedError("no answer")
    if "error" in found[0]:
        raise NodeError(node.name, f"cannot store the code: {found[0]['error']}", _REMEDY)
    return found[0]


def agent_command(node: Node, code: str, verb: str) -> list[str]:
    """The command that runs a verb of the agent on a node."""
    return [*node.interpreter, "-I", "-S", f"{node.root}/{wire.CODE_DIRECTORY}/{code}/{wire.AGENT}", verb]


def request_to(node: Node) -> Json:
    """What every request to a node's agent begins with. It may hold a password: it goes to the agent's stdin alone."""
    request = {"root": node.root, "node": node.name, "supervisor": node.supervisor}
    if node.become_password and node.supervisor == wire.SUPERVISOR_SYSTEMD:
        request[wire.SUDO_PASSWORD] = node.become_password
    return request


def sudo_fault(node: Node, said: str) -> tuple[str, str]:
    """What is wrong where sudo refuses on a node, and the remedy; `said` is what it printed there. Pure."""
    told = f": {said[:200]}" if said else ""
    if node.become_password:
        return (
            f"sudo refuses, with the password that it was given{told}",
            "type it again (--ask-become-pass), or mend ansible_become_password in the inventory, which comes first",
        )
    return (
        f"sudo asks for a password, and without it no unit starts or stops{told}",
        "give it: --ask-become-pass (-K), or ansible_become_password in a vault of the inventory",
    )


def ask(transport: Transport, code: str, verb: str, timeout: float = REPLY_TIMEOUT_SECONDS, **request: object) -> Json:
    """One question, one answer. Raises NodeError, also for an error that the agent itself met."""
    node = transport.node
    answer = transport.request(agent_command(node, code, verb), {**request_to(node), **request}, timeout=timeout)
    if answer.get("frame") == "error":
        if answer.get("sudo") is False:
            fault, remedy = sudo_fault(node, str(answer["error"]))
            raise NodeError(node.name, fault, remedy)
        raise NodeError(node.name, str(answer["error"]), CHECK_REMEDY)
    return answer
