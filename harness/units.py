"""Quantities as users write them. Pure."""

from __future__ import annotations

import re

from harness.errors import BadInputError

_RATE = re.compile(r"(\d+(?:\.\d+)?)(kbit|mbit|gbit)")
_RATE_FACTORS = {"kbit": 1e3, "mbit": 1e6, "gbit": 1e9}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(MiB|GiB)")
_SIZE_FACTORS = {"MiB": 2**20, "GiB": 2**30}


def bits_per_second(text: str) -> int:
    """Rate such as `100mbit` in bits per second; BadInputError when it is none or below 1 Mbit/s."""
    match = _RATE.fullmatch(text.strip().lower())
    if match is None:
        raise BadInputError(f"{text!r} is no link rate", "write it like 100mbit or 1gbit")
    rate = int(float(match[1]) * _RATE_FACTORS[match[2]])
    if not 1_000_000 <= rate <= 100_000_000_000:
        raise BadInputError(f"link rate {text} is not between 1mbit and 100gbit", "write it like 100mbit")
    return rate


def size_in_bytes(text: str) -> int:
    """Memory size such as `1GiB` in bytes; BadInputError when it is none or below 128 MiB."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise BadInputError(f"{text!r} is no memory size", "write it like 1GiB or 512MiB")
    size = int(float(match[1]) * _SIZE_FACTORS[match[2]])
    if size < 128 * 2**20:
        raise BadInputError(f"{text} of memory is too little for a node", "give it at least 128MiB")
    return size
