"""What a login proves itself with, in OpenSSH's order: named keys of the agent, its others, files, a password."""

from __future__ import annotations

import base64
import socket
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import paramiko
from paramiko.auth_strategy import AuthSource, AuthStrategy, InMemoryPrivateKey, OnDiskPrivateKey, Password

from harness.nodes.connection.login import Login

_AGENT_SECONDS = 10.0
_PRIVATE = "-----BEGIN OPENSSH PRIVATE KEY-----"
_MAGIC = b"openssh-key-v1\0"


class Agent(paramiko.agent.AgentSSH):
    """The agent behind a socket."""

    def __init__(self, path: str) -> None:
        super().__init__()
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(_AGENT_SECONDS)
        connection.connect(path)
        self._connect(connection)  # type: ignore[attr-defined]

    def close(self) -> None:
        """Leave it."""
        self._close()  # type: ignore[attr-defined]


class Credentials(AuthStrategy):
    """The ways of one login to prove itself. `obstacles` says of files why they were of no use."""

    def __init__(self, login: Login) -> None:
        super().__init__(ssh_config=paramiko.SSHConfig())
        self._login = login
        self.obstacles: list[str] = []
        self.agent = self._open_agent()

    def close(self) -> None:
        """Leave the agent."""
        if self.agent is not None:
            self.agent.close()

    def get_sources(self) -> Iterator[AuthSource]:
        """Each way in turn."""
        user = self._login.user
        held = self._held()
        named = [(file, public_blob(Path(file))) for file in self._login.keys]
        wanted = [blob for _, blob in named if blob is not None]
        yield from (InMemoryPrivateKey(user, held[blob]) for blob in wanted if blob in held)
        if not self._login.only_these_keys:
            yield from (InMemoryPrivateKey(user, key) for blob, key in held.items() if blob not in wanted)
        for file, blob in named:
            loaded = None if blob in held else self._loaded(Path(file))
            if loaded is not None:
                yield OnDiskPrivateKey(user, "ssh-config", Path(file), loaded)
        if self._login.password is not None:
            password = self._login.password
            yield Password(user, lambda: password)
            yield _Asked(user, password)

    def _open_agent(self) -> Agent | None:
        if self._login.agent is not None:
            try:
                return Agent(self._login.agent)
            except (OSError, paramiko.SSHException) as error:
                self.obstacles.append(f"the agent at {self._login.agent} does not answer: {error}")
        return None

    def _held(self) -> dict[bytes, paramiko.AgentKey]:
        if self.agent is None:
            return {}
        with suppress(OSError, paramiko.SSHException):
            return {key.asbytes(): key for key in self.agent.get_keys()}
        return {}

    def _loaded(self, file: Path) -> paramiko.PKey | None:
        """The private key in a file, None where it cannot be used; why is noted."""
        try:
            return paramiko.PKey.from_path(file)
        except (paramiko.PasswordRequiredException, TypeError):
            self.obstacles.append(f"{file} is encrypted, and no agent has it")
        except FileNotFoundError:
            pass
        except (OSError, ValueError, paramiko.SSHException) as error:
            if public_blob(file) is None:
                self.obstacles.append(f"{file} is no private key: {str(error)[:200]}")
            else:
                self.obstacles.append(f"no agent has the private key of {file}")
        return None


class _Asked(AuthSource):
    """A password for a server that asks for it in words (keyboard-interactive), as PAM does."""

    def __init__(self, user: str, password: str) -> None:
        super().__init__(username=user)
        self._password = password

    def authenticate(self, transport: paramiko.Transport) -> list[str]:
        """Answer every question with the password."""

        def answer(_title: str, _text: str, questions: Sequence[tuple[str, bool]]) -> list[str]:
            return [self._password for _ in questions]

        return transport.auth_interactive(self.username, answer)


def public_blob(file: Path) -> bytes | None:
    """The public key that belongs to a file: of FILE.pub, or of FILE itself; None where neither tells it."""
    for each in (file.with_name(file.name + ".pub"), file):
        with suppress(OSError, ValueError, paramiko.SSHException):
            text = each.read_text(encoding="utf-8")
            if text.startswith(_PRIVATE):
                return _public_part(text)
            words = text.split()
            if len(words) >= 2 and words[0].startswith(("ssh-", "ecdsa-", "sk-")):
                return base64.b64decode(words[1], validate=True)
    return None


def _public_part(text: str) -> bytes | None:
    """The public key in a private key's file of OpenSSH's format (PROTOCOL.key), where it is not encrypted."""
    data = base64.b64decode("".join(text.splitlines()[1:-1]))
    if not data.startswith(_MAGIC):
        return None
    message = paramiko.Message(data[len(_MAGIC) :])
    for _ in ("cipher", "key derivation", "its options"):
        message.get_binary()
    return message.get_binary() if message.get_int() == 1 else None
