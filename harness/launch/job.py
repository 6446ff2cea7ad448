"""A single job of any program, as MXNet's `tools/launch.py` starts them: its command, its code, its nodes."""

from __future__ import annotations

import getpass
import ipaddress
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import BadInputError
from harness.experiment.plan import Trial
from harness.experiment.program import FrameworkName, Program, Role
from harness.launch.code import user_code
from harness.launch.frameworks import FRAMEWORKS
from harness.launch.placement import CommandOf, Placement, RolePlacement, place, spread
from harness.nodes.agent import Code
from harness.nodes.inventory import HOME, Cluster, Node

JOB = "job"
_PYTHONS = ("python", "python3")
_HOST = re.compile(
    r"(?:(?P<user>[A-Za-z0-9_][A-Za-z0-9_.$\\-]{0,63})@)?(?P<host>[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?)(?::(?P<port>[0-9]{1,5}))?"
)


@dataclass(frozen=True)
class Job:
    """What to run, and how often."""

    command: tuple[str, ...]
    workers: int
    servers: int
    environment: Mapping[str, str]
    script: Path | None
    """The local file in `command` that is sent to the nodes, with its directory."""
    framework: FrameworkName = "mxnet"

    def code(self) -> Code:
        """The script's directory; empty where the command names no local file. Raises BadInputError."""
        if self.script is None:
            return Code({})
        return user_code(self.script.parent)

    def placed(
        self, nodes: Sequence[Node], port: int, token: str, directories: Mapping[str, str], runtimes: Mapping[str, bool]
    ) -> Placement:
        """The job's ranks on these nodes; by a node's name, where the code is there and whether it has a runtime."""
        trial = Trial(
            id=JOB, nodes=len(nodes), repeat=1, variant="", program=Program(command=self.command[0]), parameters={},
            environment=self.environment,
        )  # fmt: skip
        return place(
            trial,
            self._roles(nodes),
            framework=FRAMEWORKS[self.framework],
            port=port,
            command=self._command_on(directories, runtimes),
            environment=self.environment,
            token=token,
        )

    def _roles(self, nodes: Sequence[Node]) -> list[RolePlacement]:
        """The ranks in turn over the nodes; ps-lite's scheduler beside worker 0."""
        workers = RolePlacement("worker", Role(), spread(self.workers, nodes))
        if self.framework != "mxnet":
            return [workers]
        serves = Role(ends="serves")
        return [
            RolePlacement("scheduler", serves, spread(1, nodes)),
            RolePlacement("server", serves, spread(self.servers, nodes)),
            workers,
        ]

    def _command_on(self, directories: Mapping[str, str], runtimes: Mapping[str, bool]) -> CommandOf:
        def command(node: Node) -> tuple[str, ...]:
            words = list(self.command)
            if self.script is not None:
                at = self.command.index(next(w for w in self.command if Path(w).absolute() == self.script))
                words[at] = f"{directories[node.name]}/{self.script.name}"
            if words[0] in _PYTHONS:
                words[:1] = [f"{node.root}/runtime/bin/python"] if runtimes[node.name] else node.interpreter
            return tuple(words)

        return command


def make_job(
    command: Sequence[str],
    workers: int,
    servers: int | None,
    environment: Sequence[str],
    framework: FrameworkName = "mxnet",
) -> Job:
    """Read what the user typed; as in MXNet's launcher there are as many servers as workers where it is not said.

    Raises BadInputError.
    """
    if servers and framework != "mxnet":
        raise BadInputError(f"--num-servers {servers}: {framework} has no servers", "leave it out")
    if not command:
        raise BadInputError("no command given", "write it after two hyphens: harness launch -n 4 -- python train.py")
    words = command[1:2] if command[0] in _PYTHONS else command[:1]
    script = Path(words[0]).absolute() if words and Path(words[0]).is_file() else None
    if script is None and command[0] in _PYTHONS and words and not words[0].startswith("-"):
        raise BadInputError(f"{words[0]} is no file", "name the program as it is called from here")
    count = 0 if framework != "mxnet" else workers if servers is None else servers
    return Job(tuple(command), workers, count, read_environment(environment), script, framework)


def read_environment(settings: Sequence[str]) -> dict[str, str]:
    """`NAME=VALUE`, or MXNet's `NAME:VALUE`. Raises BadInputError."""
    found = {}
    for setting in settings:
        name, separator, value = setting.partition("=")
        if not separator:
            name, separator, value = setting.partition(":")
        if not separator or not name.isidentifier():
            raise BadInputError(
                f"--env {name} is no NAME=VALUE, and no variable of that name is set here",
                "for example --env OMP_NUM_THREADS=1",
            )
        found[name] = value
    return found


def read_hostfile(path: Path) -> Cluster:
    """The hosts of a file as MXNet's launcher reads it: one `[user@]host[:port]` a line, `#` begins a comment.

    Such nodes need not be provisioned: ranks are process groups, their Python is the node's own. Host keys are those of
    `~/.ssh/known_hosts`. Raises BadInputError.
    """
    try:
        # Bytes that are no UTF-8 may be in comments; in a host's name they are refused.
        lines = path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError as error:
        reason = error.strerror or str(error)
        raise BadInputError(f"cannot read hostfile {path}: {reason}", "name a text file with one host a line") from None
    words = [(number, line.partition("#")[0].split()) for number, line in enumerate(lines, 1)]
    nodes = tuple(_host(line[0], f"{path}:{number}") for number, line in words if line)
    if not nodes:
        raise BadInputError(f"hostfile {path} names no host", "write one host a line")
    if len({node.address for node in nodes}) < len(nodes):
        raise BadInputError(f"hostfile {path} names a host twice", "name it once; -n may exceed the number of hosts")
    return Cluster(inventory=path, kind="hostfile", nodes=nodes)


def _host(word: str, where: str) -> Node:
    match = _HOST.fullmatch(word)
    if match is None:
        shown = word.encode(errors="replace").decode()[:200]
        raise BadInputError(
            f"{where}: {shown!r} is no host", "write it as [user@]host[:port], the host by name or IPv4 address"
        )
    host, port = match["host"], match["port"]
    if port is not None and not 0 < int(port) <= 65535:
        raise BadInputError(f"{where}: {port} is no port", "1 to 65535, or leave it out for 22")
    user = match["user"] or getpass.getuser()
    try:
        address = str(ipaddress.IPv4Address(host))
    except ValueError:
        try:
            if not re.search("[A-Za-z_]", host):  # the system would read 10.1 as 10.0.0.1
                raise OSError("it is no IPv4 address")
            address = socket.gethostbyname(host)
        except (OSError, UnicodeError) as error:
            raise BadInputError(f"{where}: host {host} has no address: {error}", "write its IP address") from None
    return Node(
        name=host,
        address=address,
        local=False,
        root=f"{HOME}/.local/share/harness-launch",
        supervisor="process",
        user=user,
        ssh_port=int(port) if port else 22,
        known_hosts=str(Path("~/.ssh/known_hosts").expanduser()),
    )
