"""Values of an inventory's host variables, each taken as what it must be, or refused by host and name. Pure."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import BadInputError
from harness.nodes.connection.login import Login
from harness.nodes.connection.names import LOGIN, is_ssh
from harness.nodes.inventory import Meters, Supervisor
from harness.units import size_in_bytes

_ABSENT = (None, "")
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.:-]*[A-Za-z0-9_])?")
_FULLY_QUALIFIED = "ansible.builtin."
_LONGEST = 4096
_LONGEST_PASSWORD = 512


class HostVariables:
    """The variables of one host. All methods raise BadInputError that names host and variable."""

    def __init__(self, host: str, values: Mapping[str, Any]) -> None:
        if not _HOST.fullmatch(host) or len(host) > 200:
            raise BadInputError(
                f"host {host[:200]!r}: its name cannot be that of a file on the nodes",
                "letters, digits, dots, hyphens and underscores",
            )
        self._host = host
        self._values = values

    def address(self) -> str:
        """`node_address`, else `ansible_host`: an IPv4 address."""
        variable = "ansible_host" if self._values.get("node_address") in _ABSENT else "node_address"
        given = self._values.get(variable)
        if given in _ABSENT:
            raise BadInputError(f"host {self._host} has no ansible_host", "give it the node's IP address")
        try:
            version = ipaddress.ip_address(str(given)).version
        except ValueError:
            raise self._refused(variable, "is not an IP address", "ps-lite binds to addresses, not to names") from None
        if version != 4:
            raise self._refused(variable, "is an IPv6 address", "give it its IPv4 address")
        return str(given)

    def is_local(self) -> bool:
        """Whether the host is this machine: `ansible_connection`. Ansible's other ways into a host are not the harness's."""
        given = self._values.get("ansible_connection")
        connection = str(given).removeprefix(_FULLY_QUALIFIED)
        if given not in _ABSENT and connection != "local" and not is_ssh(connection):
            raise self._refused("ansible_connection", "is neither local nor SSH", "leave it out, or say local")
        return connection == "local"

    def supervisor(self) -> Supervisor:
        """`node_supervisor`."""
        given = self._values.get("node_supervisor", "systemd")
        if given == "systemd":
            return "systemd"
        if given == "process":
            return "process"
        raise self._refused("node_supervisor", "is unknown", "systemd or process")

    def link(self) -> str:
        """`cluster_link`: `cable`, one for each node, or `wifi`, a medium that all share."""
        given = self._values.get("cluster_link", "cable")
        if given not in ("cable", "wifi"):
            raise self._refused("cluster_link", "is unknown", "cable or wifi")
        return str(given)

    def text(self, variable: str) -> str | None:
        """A word or some words in one line, None where there are none."""
        given = self._values.get(variable)
        if given in _ABSENT:
            return None
        good = isinstance(given, str | int) and not isinstance(given, bool)
        if not good or not str(given).isprintable() or len(str(given)) > _LONGEST:
            raise self._refused(variable, "is no text in one line", "write a word, or leave it out")
        return str(given)

    def password(self, variable: str) -> str | None:
        """A text in one line, None where there is none. No error shows it."""
        given = self._values.get(variable)
        if given in _ABSENT:
            return None
        if not isinstance(given, str) or not given.isprintable() or len(given) > _LONGEST_PASSWORD:
            raise BadInputError(
                f"host {self._host}: {variable} is no text in one line, or longer than {_LONGEST_PASSWORD} characters",
                "write it in quotes, or leave it out and give --ask-become-pass",
            )
        return given

    def meter(self, variable: str) -> str | None:
        """Where a power meter is, None where there is none. What is refused is not shown: there may be a password in it."""
        given = self._values.get(variable)
        if given in _ABSENT:
            return None
        if not _is_line(given):
            raise BadInputError(f"host {self._host}: {variable} is no text in one line", "see docs/how-to/energy.md")
        return str(given)

    def meters(self, variable: str) -> Meters:
        """Meters by the name of what each measures, none where there are none; likewise not shown."""
        given = self._values.get(variable)
        if given in _ABSENT:
            return Meters()
        if not isinstance(given, Mapping) or not all(map(_is_line, given.values())):
            raise BadInputError(f"host {self._host}: {variable} does not name meters", "see docs/how-to/energy.md")
        return Meters(tuple((str(name), str(address)) for name, address in given.items()))

    def words(self, variable: str) -> tuple[str, ...]:
        """A list of words as Ansible resolved it, empty where the variable is no list."""
        given = self._values.get(variable)
        return tuple(map(str, given)) if isinstance(given, list) and LOGIN in self._values else ()

    def login(self) -> Login | None:
        """What OpenSSH made of the host's variables; None where it was not asked."""
        found = self._values.get(LOGIN)
        return found if isinstance(found, Login) else None

    def path(self, variable: str) -> Path | None:
        """A path of the controller, `~` replaced; None where there is none."""
        given = self.text(variable)
        return None if given is None else self._expanded(variable, given)

    def root(self) -> str:
        """`node_root`, an absolute path on the node."""
        given = "/opt/harness" if "node_root" not in self._values else self.text("node_root") or ""
        root = self._expanded("node_root", given) if self.is_local() else Path(given)
        if not root.is_absolute():
            raise BadInputError(
                f"host {self._host}: node_root '{given}' is no absolute path",
                "write the whole path, for example /opt/harness",
            )
        return str(root)

    def count(self, variable: str) -> int | None:
        """A number of something from 1 on, None where it is not said."""
        given = self._values.get(variable)
        if given in _ABSENT:
            return None
        if not _is_digits(given, 6):
            raise self._refused(
                variable, f"is no number of {variable.removeprefix('node_')}", "1 or more, or leave it out"
            )
        return int(given)

    def port(self, variable: str, default: int) -> int:
        """A TCP port."""
        given = self._values.get(variable, default)
        if not _is_digits(given, 5) or int(given) > 65535:
            raise self._refused(variable, "is no port", f"1 to 65535; {default} where not given")
        return int(given)

    def memory(self, variable: str) -> int | None:
        """`1GiB` or `512MiB` in bytes, None where it is not said."""
        given = self._values.get(variable)
        if given in _ABSENT:
            return None
        try:
            return size_in_bytes(str(given))
        except BadInputError as error:
            raise BadInputError(f"host {self._host}: {variable}: {error.message[:200]}", error.remedy) from None

    def factor(self, variable: str) -> float:
        """A finite number from 1 on, 1 where it is not said."""
        given = self._values.get(variable, 1.0)
        try:
            factor = math.nan if isinstance(given, bool) else float(given)
        except (TypeError, ValueError, OverflowError):
            factor = math.nan
        if not 1 <= factor < math.inf:
            raise self._refused(variable, "is no factor", "a number from 1 on; 1 is real time")
        return factor

    def truth(self, variable: str, default: bool) -> bool:
        """True or false."""
        given = self._values.get(variable, default)
        if not isinstance(given, bool) and str(given).lower() not in ("true", "false", "yes", "no"):
            raise self._refused(variable, "is neither true nor false", "write true or false")
        return given if isinstance(given, bool) else str(given).lower() in ("true", "yes")

    def _expanded(self, variable: str, given: str) -> Path:
        try:
            return Path(given).expanduser()
        except RuntimeError:
            raise self._refused(variable, "is in the home of nobody here", "write the whole path") from None

    def _refused(self, variable: str, why: str, remedy: str) -> BadInputError:
        shown = str(self._values.get(variable))[:200]
        return BadInputError(f"host {self._host}: {variable} '{shown}' {why}", remedy)


def _is_line(given: Any) -> bool:
    """Whether it is a text of one line, of a length that somebody would write."""
    return isinstance(given, str) and 0 < len(given) <= _LONGEST and given.isprintable()


def _is_digits(given: Any, most: int) -> bool:
    """Whether it is a positive whole number of at most so many digits."""
    return re.fullmatch(r"[1-9][0-9]*", text := str(given)) is not None and len(text) <= most


def same_everywhere(hosts: Mapping[str, Any], variable: str) -> Any:
    """The one value that all hosts have. Raises BadInputError that names two hosts with different ones."""
    (first, value), *others = hosts.items()
    for host, other in others:
        if other != value:
            raise BadInputError(
                f"hosts {first} and {host} have different values of {variable}: {value} and {other}",
                "it is the whole cluster's: set it once, for the group nodes",
            )
    return value
