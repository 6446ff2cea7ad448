"""A single job of any program, as MXNet's `tools/launch.py` starts them: its command, its code, its nodes."""

from __future__ import annotations

import getpass
import ipaddress
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.agent import Code
from harness.errors import BadInputError
from harness.inventory import Cluster, Node
from harness.placement import CommandOf, Placement, place
from harness.plan import Trial

JOB = "job"
LARGEST_CODE_BYTES = 100 << 20
_PYTHONS = ("python", "python3")


@dataclass(frozen=True)
class Job:
    """What to run, and how often."""

    command: tuple[str, ...]
    workers: int
    servers: int
    environment: Mapping[str, str]
    script: Path | None
    """The local file in `command` that is sent to the nodes, with its directory."""

    def code(self) -> Code:
        """The script's directory; empty where the command names no local file. Raises BadInputError."""
        if self.script is None:
            return Code({})
        directory = self.script.parent
        size = 0
        for path in directory.rglob("*"):
            size += path.stat().st_size if path.is_file() else 0
            if size > LARGEST_CODE_BYTES:
                raise BadInputError(
                    f"{directory} is more than {LARGEST_CODE_BYTES >> 20} MiB, and would be sent to every node",
                    "put the program into a directory of its own",
                )
        return Code.of(directory)

    def placed(
        self, nodes: Sequence[Node], port: int, token: str, directories: Mapping[str, str], runtimes: Mapping[str, bool]
    ) -> Placement:
        """The job's ranks on these nodes; by a node's name, where the code is there and whether it has a runtime."""
        trial = Trial(
            id=JOB, nodes=len(nodes), repeat=1, variant="", program=self.command[0], parameters={},
            environment=self.environment, servers=self.servers,
        )  # fmt: skip
        return place(
            trial,
            nodes,
            workers=self.workers,
            servers=self.servers,
            scheduler=True,
            port=port,
            command=self._command_on(directories, runtimes),
            environment=self.environment,
            token=token,
        )

    def _command_on(self, directories: Mapping[str, str], runtimes: Mapping[str, bool]) -> CommandOf:
        def command(node: Node) -> tuple[str, ...]:
            words = list(self.command)
            if words[0] in _PYTHONS:
                words[0] = f"{node.root}/runtime/bin/python" if runtimes[node.name] else node.python
            if self.script is not None:
                at = self.command.index(next(w for w in self.command if Path(w).absolute() == self.script))
                words[at] = f"{directories[node.name]}/{self.script.name}"
            return tuple(words)

        return command


def make_job(command: Sequence[str], workers: int, servers: int | None, environment: Sequence[str]) -> Job:
    """Read what the user typed; as in MXNet's launcher there are as many servers as workers where it is not said.

    Raises BadInputError.
    """
    if not command:
        raise BadInputError("no command given", "write it after two hyphens: harness launch -n 4 -- python train.py")
    words = command[1:2] if command[0] in _PYTHONS else command[:1]
    script = Path(words[0]).absolute() if words and Path(words[0]).is_file() else None
    if script is None and command[0] in _PYTHONS and words and not words[0].startswith("-"):
        raise BadInputError(f"{words[0]} is no file", "name the program as it is called from here")
    return Job(tuple(command), workers, workers if servers is None else servers, read_environment(environment), script)


def read_environment(settings: Sequence[str]) -> dict[str, str]:
    """`NAME=VALUE`, or MXNet's `NAME:VALUE`. Raises BadInputError."""
    found = {}
    for setting in settings:
        name, separator, value = setting.partition("=")
        if not separator:
            name, separator, value = setting.partition(":")
        if not separator or not name.isidentifier():
            raise BadInputError(f"--env {setting} is no NAME=VALUE", "for example --env OMP_NUM_THREADS=1")
        found[name] = value
    return found


def read_hostfile(path: Path) -> Cluster:
    """The hosts of a file as MXNet's launcher reads it: one `[user@]host[:port]` a line, `#` begins a comment.

    Such nodes need not be provisioned: ranks are process groups, their Python is the node's own. Host keys are those of
    `~/.ssh/known_hosts`. Raises BadInputError.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise BadInputError(f"cannot read hostfile {path}: {error.strerror}") from None
    words = [line.partition("#")[0].split() for line in lines]
    nodes = tuple(_host(line[0]) for line in words if line)
    if not nodes:
        raise BadInputError(f"hostfile {path} names no host", "write one host a line")
    if len({node.address for node in nodes}) < len(nodes):
        raise BadInputError(f"hostfile {path} names a host twice", "name it once; -n may exceed the number of hosts")
    return Cluster(inventory=path, kind="hostfile", nodes=nodes)


def _host(word: str) -> Node:
    user, _, rest = word.rpartition("@")
    host, _, port = rest.partition(":")
    user = user or getpass.getuser()
    try:
        address = str(ipaddress.ip_address(host))
    except ValueError:
        try:
            address = socket.gethostbyname(host)
        except OSError as error:
            raise BadInputError(f"host {host} has no address: {error}", "write its IP address") from None
    return Node(
        name=host,
        address=address,
        local=False,
        root=f"/var/tmp/harness-{user}",  # noqa: S108 - a directory of the node's user, kept for clean
        supervisor="process",
        user=user,
        ssh_port=int(port) if port.isdigit() else 22,
        known_hosts=str(Path("~/.ssh/known_hosts").expanduser()),
    )
