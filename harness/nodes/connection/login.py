"""How OpenSSH would log in to a node: host, port, user, keys, ways round, and whose key is believed.

`ssh -G` prints what it makes of its arguments and of `~/.ssh/config`; nothing of either is interpreted here.
"""

from __future__ import annotations

import getpass
import os
import re
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import BadInputError
from harness.system.commands import find

_LIMIT_SECONDS = 20.0
CONNECT_SECONDS = 10.0
_JUMP = re.compile(r"(?:ssh://)?(?:(?P<user>[^@]+)@)?(?P<host>\[[^]]+\]|[^:/]+)(?::(?P<port>\d+))?/?")
_METHODS = ("password", "keyboard-interactive")


@dataclass(frozen=True)
class Login:
    """Everything that a connection to one node is made of."""

    target: str
    """What the user calls it: a name of `~/.ssh/config`, of the network, or an address."""
    host: str
    address: str | None = None
    """The host's address, where it was looked up already."""
    port: int = 22
    user: str = ""
    keys: tuple[str, ...] = ()
    """Files of private or public keys; those that are not there are left out."""
    only_these_keys: bool = False
    """Whether further keys of the agent are not to be tried."""
    agent: str | None = None
    """The agent's socket."""
    proxy: tuple[str, ...] = ()
    """A command whose stdin and stdout are the connection; empty for a connection of its own."""
    known_hosts: tuple[str, ...] = ()
    known_as: str | None = None
    """The name in these files, where it is another than the host's."""
    checking: str = "yes"
    """`yes`; `accept-new`: an unknown key is taken, a changed one is not; `no`: any key is."""
    connect_seconds: float = CONNECT_SECONDS
    attempts: int = 1
    password: str | None = field(default=None, repr=False)


def read_login(
    command: Sequence[str],
    target: str,
    password: str | None = None,
    attempts: int = 1,
    connect_seconds: float = CONNECT_SECONDS,
) -> Login:
    """Ask OpenSSH how `command target` would log in.

    Raises BadInputError where there is no ssh, or it refuses its arguments or its configuration.
    """
    words = [find(command[0]) or command[0], *command[1:], "-G", target]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=_LIMIT_SECONDS, check=False)
    except FileNotFoundError:
        raise BadInputError(f"{command[0]} is not installed", "apt install openssh-client") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BadInputError(f"{command[0]} does not say how it would log in to {target}: {error}") from None
    if done.returncode != 0:
        said = " ".join(done.stderr.split())[-300:]
        raise BadInputError(
            f"ssh cannot log in to {target} as it is told to: {said}",
            "look at ansible_ssh_common_args, ansible_ssh_extra_args and ~/.ssh/config",
        )
    return login_of(parse_settings(done.stdout), command, target, password, attempts, connect_seconds)


def parse_settings(text: str) -> dict[str, list[str]]:
    """What `ssh -G` prints: the values of each option, by its name in small letters; pure."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        found.setdefault(name.lower(), []).append(value)
    return found


def login_of(
    settings: Mapping[str, Sequence[str]],
    command: Sequence[str],
    target: str,
    password: str | None = None,
    attempts: int = 1,
    connect_seconds: float = CONNECT_SECONDS,
) -> Login:
    """The login that OpenSSH's settings describe; pure but for the home directory and the agent's place."""

    def value(name: str, default: str = "") -> str:
        return settings.get(name, [default])[0]

    host, user = value("hostname", target), value("user") or getpass.getuser()
    port = int(value("port", "22"))
    tokens = {
        "h": host,
        "n": target,
        "p": str(port),
        "r": user,
        "u": getpass.getuser(),
        "d": str(Path.home()),
        "%": "%",
    }
    agent = value("identityagent", "SSH_AUTH_SOCK").strip('"')
    checking = {"true": "yes", "ask": "yes", "yes": "yes", "accept-new": "accept-new"}
    allowed = value("preferredauthentications", ",".join(_METHODS)).split(",")
    wanted = [value("passwordauthentication", "yes"), value("kbdinteractiveauthentication", "yes")]
    may_type = any(method in allowed and said == "yes" for method, said in zip(_METHODS, wanted, strict=True))
    timeout = value("connecttimeout", "none")
    return Login(
        target=target,
        host=host,
        port=port,
        user=user,
        keys=tuple(_file(each, tokens) for each in settings.get("identityfile", ()) if each != "none"),
        only_these_keys=value("identitiesonly") == "yes",
        agent=None if agent == "none" else _agent(agent, tokens),
        proxy=_proxy(settings, command, tokens),
        known_hosts=tuple(
            _file(each, tokens)
            for name in ("userknownhostsfile", "globalknownhostsfile")
            for each in shlex.split(value(name))
            if each != "none"
        ),
        known_as=value("hostkeyalias") or None,
        checking=checking.get(value("stricthostkeychecking", "ask"), "no"),
        connect_seconds=float(timeout) if timeout.isdigit() else connect_seconds,
        attempts=max(attempts, int(value("connectionattempts", "1"))),
        password=password if may_type else None,
    )


def _file(text: str, tokens: Mapping[str, str]) -> str:
    return str(Path(_with_tokens(text.strip('"'), tokens)).expanduser())


def _with_tokens(text: str, tokens: Mapping[str, str]) -> str:
    """The text with OpenSSH's `%h` and its like replaced; those that are not known stay."""
    return re.sub("%(.)", lambda found: tokens.get(found[1], found[0]), text)


def _agent(said: str, tokens: Mapping[str, str]) -> str | None:
    if said == "SSH_AUTH_SOCK":
        return os.environ.get("SSH_AUTH_SOCK") or None
    if said.startswith("$"):
        return os.environ.get(said[1:].strip("{}")) or None
    return _file(said, tokens)


def _proxy(settings: Mapping[str, Sequence[str]], command: Sequence[str], tokens: Mapping[str, str]) -> tuple[str, ...]:
    """The command that leads to the node: ProxyCommand, or an ssh that goes as far as the last host of ProxyJump."""
    jump = settings.get("proxyjump", ["none"])[0]
    if jump != "none":
        *before, last = jump.split(",")
        found = _JUMP.fullmatch(last)
        if found is None:
            raise BadInputError(f"ProxyJump {last!r} is no host", "write it as [user@]host[:port]")
        return (
            find(command[0]) or command[0],
            *_configuration(command),
            *(["-l", found["user"]] if found["user"] else []),
            *(["-p", found["port"]] if found["port"] else []),
            *(["-J", ",".join(before)] if before else []),
            *("-o", "BatchMode=yes", "-W", f"[{tokens['h']}]:{tokens['p']}", found["host"].strip("[]")),
        )
    given = settings.get("proxycommand", ["none"])[0]
    return () if given == "none" else ("/bin/sh", "-c", f"exec {_with_tokens(given, tokens).removeprefix('exec ')}")


def _configuration(command: Sequence[str]) -> list[str]:
    """The `-F FILE` of an ssh command, which holds for hosts on the way too."""
    for number, word in enumerate(command):
        if word.startswith("-F"):
            return ["-F", word[2:] or "".join(command[number + 1 : number + 2])]
    return []
