#!/usr/bin/python
"""Ansible module: everything the roles decide on, read in one process."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_state
short_description: Read what the roles of this project decide on
description:
  - Reads and changes nothing. A node with a sixth of a core spends about a second on every module that is started, so
    one module reads what a dozen would.
options:
  root: {type: path, required: true, description: The directory on the node that holds all of ours.}
  marker: {type: str, required: true, description: Name of the file that says that this directory is ours.}
  packages:
    type: list
    elements: str
    default: []
    description: Debian packages that should be installed, NAME or, on some architectures alone, NAME [ARCHITECTURE ...].
  units: {type: list, elements: str, default: [], description: systemd units whose state is wanted.}
  sysctl: {type: list, elements: str, default: [], description: Kernel parameters whose values are wanted.}
  files: {type: list, elements: path, default: [], description: Files whose SHA-256 is wanted.}
  firewall_table: {type: str, default: '', description: Table of family inet whose chains are wanted.}
  controller_time: {type: float, required: true, description: "The controller's clock, in seconds since 1970."}
"""

import glob
import hashlib
import json
import os
import platform
import pwd
import re
import socket
import struct
import subprocess
import sys
import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.node_root import describe_root

COMMAND_SECONDS = 60
# Less does no harm to apt, and may be the time that it took to start this module.
CLOCK_SECONDS = 60
CAP_NET_ADMIN = 12
# Where the Raspberry Pi's firmware settings are: since Bookworm, and before.
BOOT_CONFIGS = ("/boot/firmware/config.txt", "/boot/config.txt")
# As Debian installs it.
IW = "/usr/sbin/iw"
UNIT_PROPERTIES = ("Id", "LoadState", "ActiveState", "UnitFileState")


def read_text(path):
    """Content without surrounding blanks and NULs; None where there is no such file or it is not ours to read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read().strip("\0 \n\t")
    except OSError:
        return None


def read_json(path):
    text = read_text(path)
    try:
        return json.loads(text) if text else None
    except ValueError:
        return None


def sha256(path):
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    except OSError:
        return None
    return digest.hexdigest()


def run(*command):
    """Standard output; empty where the command is missing, fails or does not end."""
    environment = dict(os.environ, LC_ALL="C")
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False, env=environment
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def clock_off(controller_time):
    """Seconds that this clock is ahead of the controller's, negative behind; 0 for a few, and once a time service set it."""
    off = round(time.time() - controller_time)
    if abs(off) < CLOCK_SECONDS or run("timedatectl", "show", "--property=NTPSynchronized", "--value").strip() == "yes":
        return 0
    return off


def python():
    base = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
    return {
        "version": platform.python_version(),
        "series": "{}.{}".format(*sys.version_info[:2]),
        "executable": base,
        "tag": "cp{}{}".format(*sys.version_info[:2]),
        "bits": struct.calcsize("P") * 8,
    }


def packages_of(architecture, listed):
    """Names of the packages, each NAME or NAME [ARCHITECTURE ...], that Debian's architecture is to have."""
    found = []
    for line in listed:
        name, _, architectures = line.partition("[")
        if not architectures or architecture in architectures.strip(" ]").split():
            found.append(name.strip())
    return found


def missing_packages(listed):
    if not listed or not os.path.exists("/usr/bin/dpkg-query"):
        return []
    wanted = packages_of(run("dpkg", "--print-architecture").strip(), listed)
    listing = run("dpkg-query", "-W", "-f=${Package} ${db:Status-Status}\n", *wanted)
    installed = {line.split()[0] for line in listing.splitlines() if line.endswith(" installed")}
    return [name for name in wanted if name not in installed]


def unit_states(wanted):
    """The states of `wanted` and of every unit of a rank, by name."""
    states = {}
    patterns = [*wanted, "harness-*"]
    shown = run("systemctl", "show", "--property=" + ",".join(UNIT_PROPERTIES), "--", *patterns)
    for block in shown.split("\n\n"):
        values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if values.get("Id"):
            states[values["Id"]] = {
                "load": values.get("LoadState", ""),
                "active": values.get("ActiveState", ""),
                "file": values.get("UnitFileState", ""),
            }
    return states


def active_swaps():
    lines = (read_text("/proc/swaps") or "").splitlines()[1:]
    return [line.split()[0] for line in lines]


def authorized_keys(user):
    text = read_text(os.path.join(pwd.getpwnam(user).pw_dir, ".ssh", "authorized_keys")) or ""
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]


def may_set_network():
    """Whether the kernel lets this process change firewall and links; a container may have been denied it."""
    for line in (read_text("/proc/self/status") or "").splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> CAP_NET_ADMIN & 1)
    return False


def ssh_connection():
    """Where the controller's connection comes from, and the port of sshd that took it; None where it is no SSH.

    sudo forgets the variable, so it is looked for in the processes above this one too.
    """
    pid = "self"
    while pid not in (None, "0", "1"):
        for line in (read_text(f"/proc/{pid}/environ") or "").split("\0"):
            fields = line.removeprefix("SSH_CONNECTION=").split()
            if line.startswith("SSH_CONNECTION=") and len(fields) == 4:
                return {"address": fields[0].split("%")[0], "port": int(fields[3])}
        status = dict(
            line.split(":\t", 1) for line in (read_text(f"/proc/{pid}/status") or "").splitlines() if ":\t" in line
        )
        pid = status.get("PPid")
    return None


def governors():
    """The governors in use; empty where no frequency is governed."""
    paths = glob.glob("/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor")
    return sorted({read_text(path) for path in paths} - {None})


def default_interface():
    """The interface of the default route, else the first that is up and not the loopback."""
    for line in (read_text("/proc/net/route") or "").splitlines()[1:]:
        fields = line.split()
        if len(fields) > 2 and fields[1] == "00000000":
            return fields[0]
    for name in sorted(os.listdir("/sys/class/net")) if os.path.isdir("/sys/class/net") else []:
        if name != "lo" and read_text(f"/sys/class/net/{name}/operstate") == "up":
            return name
    return None


def interface():
    name = default_interface()
    if name is None:
        return {}
    base = f"/sys/class/net/{name}"
    speed = read_text(f"{base}/speed")
    driver = os.path.join(base, "device", "driver")
    return {
        "name": name,
        "mac": read_text(f"{base}/address"),
        "mtu": int(read_text(f"{base}/mtu") or 0),
        "speed_mbit": int(speed) if speed and speed.isdigit() else None,
        "duplex": read_text(f"{base}/duplex"),
        "driver": os.path.basename(os.path.realpath(driver)) if os.path.exists(driver) else None,
    }


def radios():
    """Interfaces that are radios, each with what `iw` says of its power saving; None where it says nothing."""
    found = []
    for path in sorted(glob.glob("/sys/class/net/*/phy80211")):
        name = os.path.basename(os.path.dirname(path))
        said = re.search(r"Power save: (on|off)", run(IW, "dev", name, "get", "power_save"))
        found.append({"name": name, "power_saving": said.group(1) == "on" if said else None})
    return found


def firewall_chains(table):
    """Names of the chains of the table; None where the table is not there (or nft says nothing to this user)."""
    listing = run("nft", "--json", "list", "table", "inet", table) if table else ""
    try:
        entries = json.loads(listing)["nftables"]
    except (ValueError, KeyError):
        return None
    return [entry["chain"]["name"] for entry in entries if "chain" in entry]


def runtimes(root):
    """By name, what the environments beside the runtime say of themselves."""
    found = {}
    for path in glob.glob(os.path.join(root, "runtimes", "*", "bundle.json")):
        directory = os.path.dirname(path)
        state = {"bundle": read_json(path), "runtime": read_json(os.path.join(directory, "runtime.json"))}
        found[os.path.basename(directory)] = state
    return found


def datasets(root):
    """By data set: its manifest, and the SHA-256 of every file as it is on the disk now."""
    found = {}
    base = os.path.join(root, "data")
    for name in sorted(os.listdir(base)) if os.path.isdir(base) else []:
        path = os.path.join(base, name)
        if os.path.isdir(path) and not name.endswith((".new", ".old")):
            files = [entry for entry in sorted(os.listdir(path)) if entry != "dataset.json"]
            found[name] = {
                "manifest": read_json(os.path.join(path, "dataset.json")),
                "files": {entry: sha256(os.path.join(path, entry)) for entry in files},
            }
    return found


def main():
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "marker": {"type": "str", "required": True},
            "packages": {"type": "list", "elements": "str", "default": []},
            "units": {"type": "list", "elements": "str", "default": []},
            "sysctl": {"type": "list", "elements": "str", "default": []},
            "files": {"type": "list", "elements": "path", "default": []},
            "firewall_table": {"type": "str", "default": ""},
            "controller_time": {"type": "float", "required": True},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    root = wanted["root"]
    runtime = os.path.join(root, "runtime")
    user = os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name
    module.exit_json(
        changed=False,
        python=python(),
        architecture=platform.machine(),
        # Empty where the machine is no device-tree board.
        model=read_text("/proc/device-tree/model") or "",
        container=os.path.exists("/run/systemd/container"),
        hostname=socket.gethostname(),
        static_hostname=read_text("/etc/hostname"),
        root=dict(describe_root(root, user, wanted["marker"]), path=root),
        # Whoever logged in, also where this module runs as root.
        user=user,
        runtime=read_json(os.path.join(runtime, "runtime.json")),
        bundle=read_json(os.path.join(runtime, "bundle.json")),
        runtimes=runtimes(root),
        datasets=datasets(root),
        packages_missing=missing_packages(wanted["packages"]),
        units=unit_states(wanted["units"]),
        swaps=active_swaps(),
        clock_off_seconds=clock_off(wanted["controller_time"]),
        hosts_file=read_text("/etc/hosts") or "",
        authorized_keys=authorized_keys(user),
        sysctl={key: read_text("/proc/sys/" + key.replace(".", "/")) for key in wanted["sysctl"]},
        files={path: sha256(path) for path in wanted["files"]},
        firewall_chains=firewall_chains(wanted["firewall_table"]),
        may_set_network=may_set_network(),
        ssh=ssh_connection(),
        interface=interface(),
        radios=radios(),
        iw=os.path.exists(IW),
        boot_config=next((path for path in BOOT_CONFIGS if os.path.isfile(path)), ""),
        governors=governors(),
    )


if __name__ == "__main__":
    main()
