"""What the agent reads of a radio, from text as `iw` and the kernel print it."""

from __future__ import annotations

from pathlib import Path

import pytest
from agent.telemetry import wireless
from agent.telemetry.sampling import Telemetry

from harness.contract.columns import COLUMNS

# A Pi 3 B+ that has joined; iw 5.19.
LINK = """\
Connected to 34:31:c4:0a:bb:01 (on wlan0)
\tSSID: lab network
\tfreq: 5180
\tRX: 1234567 bytes (8901 packets)
\tTX: 234567 bytes (1901 packets)
\tsignal: -52 dBm
\trx bitrate: 150.0 MBit/s
\ttx bitrate: 65.0 MBit/s MCS 7

\tbss flags:\tshort-slot-time
\tdtim period:\t1
\tbeacon int:\t100
"""
TABLE = """\
Inter-| sta-|   Quality        |   Discarded packets               | Missed | WE
 face | tus | link level noise |  nwid  crypt   frag  retry   misc | beacon | 22
 wlan0: 0000   58.  -52.  -256        0      0      0      0    145        0
 wlan1: 0000    0     0     0         0      0      0      0      0        0
 wlan2: 0000    0.  -256.  -256        0      0      0      0      0        0
"""


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (LINK, (-52.0, 65.0)),
        (LINK.replace("65.0 MBit/s", "866.7 MBit/s VHT-MCS 9 80MHz short GI VHT-NSS 2"), (-52.0, 866.7)),
        ("\n".join(line for line in LINK.splitlines() if "bitrate" not in line), (-52.0, None)),
        ("Not connected.\n", (None, None)),
        ("command failed: No such device (-19)\n", (None, None)),
        ("", (None, None)),
    ],
)
def test_signal_and_bit_rate_of_sending(text: str, found: tuple[float | None, float | None]) -> None:
    assert wireless.read_link(text) == found


def test_levels_of_the_kernels_table_without_radios_that_have_joined_nothing() -> None:
    assert wireless.read_levels(TABLE) == {"wlan0": -52.0}
    assert wireless.read_levels("\n".join(TABLE.splitlines()[:2])) == {}
    assert wireless.read_levels("") == {}
    assert wireless.read_levels("a\nb\n torn line\n wlan0: 0000\n") == {}


@pytest.mark.parametrize(
    ("text", "saving"),
    [("Power save: on\n", True), ("Power save: off\n", False), ("", None), ("nl80211 not found.", None)],
)
def test_power_saving(text: str, saving: bool | None) -> None:
    assert wireless.read_power_saving(text) is saving


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with one radio and a cable, and no `iw`."""
    for path in ("net/wlan0/phy80211", "net/eth0", "bin"):
        (tmp_path / path).mkdir(parents=True)
    (tmp_path / "wireless").write_text(TABLE, encoding="utf-8")
    monkeypatch.setattr(wireless, "INTERFACES", tmp_path / "net")
    monkeypatch.setattr(wireless, "TABLE", str(tmp_path / "wireless"))
    monkeypatch.setattr(wireless, "_TOOLS", str(tmp_path / "bin"))
    return tmp_path


def iw(machine: Path, script: str) -> None:
    tool = machine / "bin" / "iw"
    tool.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    tool.chmod(0o755)


def test_without_iw_the_kernel_says_the_signal(machine: Path) -> None:
    assert wireless.joined() == {"signal_dbm": -52.0, "bit_rate_mbit": None}
    (radio,) = wireless.wireless()
    assert (radio["interface"], radio["address"], radio["power_saving"]) == ("wlan0", None, None)


def test_iw_says_more(machine: Path) -> None:
    iw(machine, f"[ \"$3\" = get ] && echo 'Power save: on' || cat <<'X'\n{LINK}X")
    assert wireless.joined() == {"signal_dbm": -52.0, "bit_rate_mbit": 65.0}
    assert wireless.wireless()[0]["power_saving"] is True


def test_an_iw_that_hangs_or_fails_is_not_waited_for(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wireless, "LIMIT_SECONDS", 0.2)
    iw(machine, "exec sleep 30")
    assert wireless.joined()["signal_dbm"] == -52.0
    iw(machine, "exit 1")
    assert wireless.joined()["bit_rate_mbit"] is None


def test_samples_have_the_columns_and_nothing_in_them_without_a_radio(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wireless, "INTERFACES", machine / "nowhere")
    sample = Telemetry(0.01).sample(float("inf"))
    assert sample is not None
    assert (sample["signal_dbm"], sample["bit_rate_mbit"]) == (None, None)
    assert set(sample) <= {column.name for column in COLUMNS["telemetry.csv"]}
    assert wireless.wireless() == []
