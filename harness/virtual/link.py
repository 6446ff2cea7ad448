"""What joins the nodes, read from the text of `--link`: a cable each, or one medium that all share. Pure."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, replace

from harness.errors import BadInputError
from harness.units import bits_per_second

WIFI = "wifi"
CABLE_RATE = "100mbit"
WIFI_RATE = "30mbit"
MOST_LOSS = 0.5
MOST_DELAY_SECONDS = 1.0

_WORDS_FOR_WIFI = (WIFI, "wi-fi", "wlan", "wireless")
_PARTS = ("loss", "latency", "jitter")
_SHARE = re.compile(r"(\d+(?:\.\d+)?)%")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s)")
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


@dataclass(frozen=True)
class Link:
    """A cable for each node, `rate` bits per second both ways; or one medium of that rate, `shared` by all.

    Of a medium, `loss` is the share of frames that do not arrive; `latency` is what a frame takes longer on its way, in
    seconds, and `jitter` how much that is more or less.
    """

    rate: int
    shared: bool = False
    loss: float = 0.0
    latency: float = 0.0
    jitter: float = 0.0

    def slowed(self, factor: float) -> Link:
        """The link in time that is slowed down by `factor`."""
        return replace(self, rate=round(self.rate / factor), latency=self.latency * factor, jitter=self.jitter * factor)

    @property
    def text(self) -> str:
        """As a user writes it."""
        rate = f"{_shown(self.rate / 1e6)}mbit"
        if not self.shared:
            return rate
        parts = [
            f"loss={_shown(self.loss * 100)}%" if self.loss else "",
            f"latency={_shown(self.latency * 1e3)}ms" if self.latency else "",
            f"jitter={_shown(self.jitter * 1e3)}ms" if self.jitter else "",
        ]
        return f"{WIFI}:{','.join([rate, *filter(None, parts)])}"

    def as_json(self) -> dict[str, float | bool]:
        """As cluster.json has it."""
        return {
            "bits_per_second": self.rate,
            "shared": self.shared,
            "loss": self.loss,
            "latency_seconds": self.latency,
            "jitter_seconds": self.jitter,
        }


def read_link(text: str) -> Link:
    """The link that `text` describes: `100mbit`, `wifi`, or `wifi:30mbit,loss=1%,latency=3ms,jitter=1ms`.

    Raises BadInputError, with the nearest text that can be read, where it describes none.
    """
    try:
        return _read(text)
    except BadInputError as error:
        raise BadInputError(f"--link {text}: {error.message}", f"write --link {nearest(text)}") from None


def nearest(text: str) -> str:
    """The text of a link that comes nearest to `text`."""
    words = [word for word in re.split(r"[:,;]+", re.sub(r"\s", "", text.lower())) if word]
    first = re.sub(r"[^a-z-].*", "", words[0]) if words else ""
    shared = any("=" in word for word in words) or bool(difflib.get_close_matches(first, _WORDS_FOR_WIFI, 1))
    meant = dict(part for word in reversed(words) if (part := _meant(word)))
    rate = int(meant.pop("rate", bits_per_second(WIFI_RATE if shared else CABLE_RATE)))
    if not shared:
        return Link(rate).text
    latency = max(meant.pop("latency", 0.0), meant.get("jitter", 0.0))
    return Link(rate, shared=True, latency=latency, **meant).text


def _read(text: str) -> Link:
    kind, colon, parts = text.strip().lower().partition(":")
    if kind != WIFI:
        return Link(bits_per_second(text))
    values = {"rate": float(bits_per_second(WIFI_RATE))}
    given = [_part(part) for part in parts.split(",")] if colon else []
    for name, value in given:
        if [each for each, _ in given].count(name) > 1:
            raise BadInputError(f"it has more than one {name}")
        values[name] = value
    if values.get("jitter", 0.0) > values.get("latency", 0.0):
        raise BadInputError("its jitter is more than its latency")
    return Link(int(values.pop("rate")), shared=True, **values)


def _part(text: str) -> tuple[str, float]:
    """Name and value of one part of a medium's text. Raises BadInputError where it is none."""
    name, equals, value = text.partition("=")
    if not equals:
        return "rate", bits_per_second(text)
    if name not in _PARTS:
        raise BadInputError(f"a link has no {name!r}")
    pattern, kind = (_SHARE, "share in per cent") if name == "loss" else (_DURATION, "time in ms")
    match = pattern.fullmatch(value)
    if match is None:
        raise BadInputError(f"{name} {value!r} is no {kind}")
    number = float(match[1]) * (0.01 if name == "loss" else _UNITS[match[2]])
    if number > (MOST_LOSS if name == "loss" else MOST_DELAY_SECONDS):
        raise BadInputError(f"{name} {value} is more than {'50%' if name == 'loss' else '1s'}")
    return name, number


def _shown(number: float) -> str:
    """With at most four decimals, and no exponent, which cannot be read."""
    return f"{number:.4f}".rstrip("0").rstrip(".")


def _meant(word: str) -> tuple[str, float] | None:
    """The part that `word` was probably meant to be; None where it was none."""
    name, equals, value = word.rpartition("=")
    number = re.search(r"\d+(?:\.\d+)?", value)
    if number is None:
        return None
    unit = value[number.end() :]
    if equals:
        close = difflib.get_close_matches("latency" if name == "delay" else name, _PARTS, 1)
        if not close:
            return None
        unit = "%" if close[0] == "loss" else unit if unit in _UNITS else "ms"
        mended = f"{close[0]}={number[0]}{unit}"
    else:
        mended = number[0] + {"g": "gbit", "k": "kbit"}.get(unit[:1], "mbit")
    try:
        return _part(mended)
    except BadInputError:
        return None
