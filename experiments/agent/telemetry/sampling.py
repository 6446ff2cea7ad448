"""Samples of a node's health while ranks run there."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from pathlib import Path

from ..files import Json, read_text
from ..processes import processes, run_command, stat_fields
from .wireless import joined


def network_bytes() -> tuple[int, int]:
    """Bytes sent and received by all interfaces but loopback."""
    sent = received = 0
    for line in (read_text("/proc/net/dev") or "").splitlines()[2:]:
        name, _, counters = line.partition(":")
        if name.strip() != "lo":
            fields = counters.split()
            received += int(fields[0])
            sent += int(fields[8])
    return sent, received


def in_container() -> bool:
    """Whether this node is a container, which sees its host's counters."""
    return Path("/run/systemd/container").exists()


def processes_usage() -> tuple[float, int]:
    """CPU seconds and resident bytes of all processes here: in a container /proc/stat and /proc/meminfo are the host's."""
    ticks = pages = 0
    for pid in processes():
        with contextlib.suppress(ValueError, IndexError):
            fields = stat_fields(pid)
            ticks += sum(int(field) for field in fields[11:15])
            pages += int(fields[21])
    return ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE")


def memory_bytes(name: str) -> int:
    """One of the kernel's figures of this machine's memory."""
    figures = dict(line.split(":") for line in (read_text("/proc/meminfo") or "").splitlines() if ":" in line)
    return int(figures[name].split()[0]) * 1024


def machine_usage() -> tuple[float, int]:
    """CPU seconds used by, and memory in use on, this machine."""
    fields = [int(field) for field in (read_text("/proc/stat") or "cpu 0 0 0 0 0 0 0 0").splitlines()[0].split()[1:9]]
    busy = sum(fields) - fields[3] - fields[4]
    return busy / os.sysconf("SC_CLK_TCK"), memory_bytes("MemTotal") - memory_bytes("MemAvailable")


def temperature() -> float | None:
    """Of the processor, in degrees Celsius."""
    text = read_text("/sys/class/thermal/thermal_zone0/temp")
    return int(text) / 1000 if text and text.strip().lstrip("-").isdigit() else None


def throttled() -> str | None:
    """The firmware's throttling and under-voltage bits, as hexadecimal; None where this is no Pi."""
    text = read_text("/sys/devices/platform/soc/soc:firmware/get_throttled")
    if text:
        return hex(int(text.strip(), 16))
    if shutil.which("vcgencmd"):
        answer = run_command(["vcgencmd", "get_throttled"]).stdout.strip()
        if answer.startswith("throttled="):
            return answer.removeprefix("throttled=")
    return None


class Telemetry:
    """Samples of the node's health, at most one every `seconds`; 0 turns them off."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        # Not at once: over a few milliseconds, CPU time counted in ticks says nothing.
        self._next = time.monotonic() + min(seconds, 1.0)
        self._usage = processes_usage if in_container() else machine_usage
        self._cpu = self._usage()[0] if seconds else 0.0
        self._at = time.monotonic()
        self._bytes = network_bytes()

    def sample(self, now: float) -> Json | None:
        """A sample if it is time for one."""
        if not self._seconds or now < self._next:
            return None
        self._next = now + self._seconds
        cpu, _ = usage = self._usage()
        elapsed = max(now - self._at, 1e-3)
        percent = max(0.0, 100 * (cpu - self._cpu) / elapsed)
        self._cpu, self._at = cpu, now
        return self._made(round(percent, 1), usage)

    def last(self) -> Json | None:
        """A sample whether or not it is time, as of the end of a rank: of counters, and of no rate over so short a time."""
        return self._made(None, self._usage()) if self._seconds else None

    def _made(self, percent: float | None, usage: tuple[float, int]) -> Json:
        sent, received = network_bytes()
        load = read_text("/proc/loadavg")
        return {
            "cpu_percent": percent,
            "memory_used_bytes": usage[1],
            "load_1m": None if in_container() or not load else float(load.split()[0]),
            "temperature_celsius": temperature(),
            "throttled": throttled(),
            "bytes_sent": sent - self._bytes[0],
            "bytes_received": received - self._bytes[1],
            **joined(),
        }
