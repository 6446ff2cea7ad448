"""What the address of a meter says: a plug, a CSV of one's own, or watts that nothing measures. Pure.

An address may have a password in it, and one that is mistyped may have it anywhere: no error shows an address.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from harness.errors import BadInputError

MOST_WATTS = 100_000.0
PlugKind = Literal["shelly1", "shelly2", "tasmota"]
"""shelly1: Shelly's first generation; shelly2: the second and all later ones."""

_KINDS = get_args(PlugKind)
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?")
_CHANNEL = re.compile(r"/?|/(\d{1,2})")
_EXAMPLES = "shelly1://10.0.0.7, shelly2://10.0.0.7/0, tasmota://10.0.0.8, csv:power.csv or watts:6.4?idle=2.7"


@dataclass(frozen=True)
class Plug:
    """A plug or meter that answers over HTTP. `idle_watts`, here and below, is what was declared of idle time, if anything."""

    kind: PlugKind
    host: str
    port: int = 80
    channel: int = 0
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    idle_watts: float | None = None

    @property
    def shown(self) -> str:
        """The address without user and password."""
        port = f":{self.port}" if self.port != 80 else ""
        return f"{self.kind}://{self.host}{port}/{self.channel}"


@dataclass(frozen=True)
class OwnFile:
    """A CSV with the columns time, node and watts to which somebody else appends."""

    path: Path
    idle_watts: float | None = None

    @property
    def shown(self) -> str:
        """The address."""
        return f"csv:{self.path}"


@dataclass(frozen=True)
class Fixed:
    """Watts that nothing measures: declared by the user, or published of such a board; `origin` says where."""

    watts: float
    source: Literal["declared", "estimate"]
    origin: str = ""
    idle_watts: float | None = None


Meter = Plug | OwnFile


def read_address(name: str, text: str, directory: Path) -> Meter | Fixed:
    """What measures `name`, from its address; a relative path of a file is below `directory`. Raises BadInputError."""
    try:
        parts = urlsplit(text)
        port = parts.port
        idle = _idle(parts)
        if parts.scheme in _KINDS:
            return _plug(parts, port, idle)
        if parts.scheme == "csv" and parts.path and not parts.netloc:
            return OwnFile(directory / Path(parts.path).expanduser(), idle)
        if parts.scheme == "watts" and not parts.netloc:
            return Fixed(_watts(parts.path), "declared", "", idle)
    except (ValueError, RuntimeError) as error:  # the second: a home of nobody here
        raise BadInputError(f"the power meter of {name}: {_reason(error)}", f"write it like {_EXAMPLES}") from None
    raise BadInputError(f"the power meter of {name} is of no kind that is known", f"write it like {_EXAMPLES}")


class _AddressError(ValueError):
    """What is wrong with an address, in words that hold nothing of it."""


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, _AddressError) else "its address cannot be read"


def _plug(parts: SplitResult, port: int | None, idle: float | None) -> Plug:
    channel = _CHANNEL.fullmatch(parts.path)
    if not parts.hostname or not _HOST.fullmatch(parts.hostname) or port == 0:
        raise _AddressError("it has no name or IPv4 address of a plug")
    if channel is None:
        raise _AddressError("after the plug's name comes the number of its channel, from 0 on, or nothing")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    kind = next(each for each in _KINDS if each == parts.scheme)
    return Plug(kind, parts.hostname, port or 80, int(channel[1] or 0), user or "admin", password, idle)


def _idle(parts: SplitResult) -> float | None:
    pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    if parts.fragment or [name for name, _ in pairs] not in ([], ["idle"]):
        raise _AddressError("after its question mark only idle=WATTS may come")
    return _watts(pairs[0][1]) if pairs else None


def _watts(text: str) -> float:
    watts = read_watts(text)
    if watts is None:
        raise _AddressError(f"watts are a number from 0 to {MOST_WATTS:,.0f}")
    return watts


def read_watts(text: str) -> float | None:
    """The watts that a text says; None where it says none that are possible."""
    with suppress(ValueError):
        watts = float(text)
        return watts if 0 <= watts <= MOST_WATTS else None
    return None
