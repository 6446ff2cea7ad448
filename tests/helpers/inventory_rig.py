"""Real SSH servers for test_real_inventories.py, and what Ansible and the harness say of each inventory.

Run by `unshare` in namespaces of its own (mounts, network, processes) with a directory and the path of sshd: all addresses lie
on its loopback interface, and `/etc/passwd` and `/etc/hosts` are others. Prints one JSON object: by
inventory, by host, what was found.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from cluster_inventories import CASES, Inventory

AT_ONCE = 4
ADDRESSES = ["192.168.1.1", *(f"192.168.1.{number}" for number in range(10, 17))]
USERS = ("pi", "ubuntu", "admin", "keys")
NAMES = {"pi01": "192.168.1.10", "pi02": "192.168.1.11", "pi03": "192.168.1.12", "turing1.local": "192.168.1.13"}
CONFIG = """\
Host rack-a
    HostName 192.168.1.12
    Port 2222
    User ubuntu
    IdentityFile "{home}/.ssh/a key"
Host rack-b
    HostName pi02
    User pi
Host behind
    HostName 192.168.1.14
    User pi
    ProxyJump bastion
Host bastion
    HostName 192.168.1.1
    User pi
Match host 192.168.1.13 exec "true"
    IdentitiesOnly yes
"""


def run(*words: str | Path, **more: Any) -> str:
    done = subprocess.run([str(word) for word in words], check=True, capture_output=True, text=True, **more)
    return done.stdout.strip()


def key(file: Path, secret: str = "") -> str:
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", secret, "-C", "test", "-f", file)
    return file.with_name(file.name + ".pub").read_text(encoding="utf-8")


def make_system(directory: Path) -> Path:
    """Addresses, names, users and their keys; returns the home of who calls."""
    run("ip", "link", "set", "lo", "up")
    for address in ADDRESSES:
        run("ip", "addr", "add", f"{address}/32", "dev", "lo")
    # As on a real network, where the way to another machine begins with an address of one's own.
    run("ip", "addr", "add", "192.168.1.2/32", "dev", "lo")
    run("ip", "route", "replace", "local", "192.168.1.10", "dev", "lo", "src", "192.168.1.2", "table", "local")
    home = directory / "home"
    ssh = home / ".ssh"
    ssh.mkdir(parents=True, mode=0o700)
    own, spaced = key(ssh / "id_ed25519"), key(ssh / "a key")
    held, encrypted = key(ssh / "held"), key(ssh / "encrypted", "secret")
    allowed = {"pi": own, "ubuntu": own + spaced, "admin": "", "keys": held + encrypted}
    passwd, shadow = (
        [f"root:x:0:0:root:{home}:/bin/sh", "sshd:x:109:65534::/run/sshd:/usr/sbin/nologin"],
        ["root:*:1::::::"],
    )
    password = run("openssl", "passwd", "-6", "raspberry")
    for number, user in enumerate(USERS, 2001):
        theirs = directory / user
        (theirs / ".ssh").mkdir(parents=True, mode=0o700)
        (theirs / ".ssh" / "authorized_keys").write_text(allowed[user], encoding="utf-8")
        for path in (theirs, theirs / ".ssh", theirs / ".ssh" / "authorized_keys"):
            os.chown(path, number, number)
        passwd.append(f"{user}:x:{number}:{number}::{theirs}:/bin/sh")
        shadow.append(f"{user}:{password if user == 'admin' else '*'}:1::::::")
    hosts = "127.0.0.1 localhost\n127.0.1.1 head\n" + "".join(f"{address} {name}\n" for name, address in NAMES.items())
    for name, text in (("passwd", "\n".join(passwd) + "\n"), ("shadow", "\n".join(shadow) + "\n"), ("hosts", hosts)):
        (directory / name).write_text(text, encoding="utf-8")
        run("mount", "--bind", directory / name, f"/etc/{name}")
    (ssh / "config").write_text(CONFIG.format(home=home), encoding="utf-8")
    (home / "vault-password").write_text("open\n", encoding="utf-8")
    (home / "my-ssh").write_text('#!/bin/sh\nexec ssh "$@"\n', encoding="utf-8")
    (home / "my-ssh").chmod(0o755)
    return home


def serve(directory: Path, sshd: str, home: Path) -> str:
    """Start the SSH server and the agent; returns the host key."""
    run("mount", "-t", "tmpfs", "none", "/run")
    Path("/run/sshd").mkdir(mode=0o755)
    words = key(directory / "host_key").split()
    host_key = " ".join(words[:2])
    (directory / "sshd_config").write_text(
        f"HostKey {directory}/host_key\nPort 22\nPort 2222\nUsePAM no\nPasswordAuthentication yes\nMaxStartups 50\n"
        "KbdInteractiveAuthentication no\nUseDNS no\nStrictModes no\nPidFile none\n",
        encoding="utf-8",
    )
    libraries = directory / "libraries"
    libraries.mkdir()
    # A server of a node's file system, where this machine has none of its own.
    for file in Path(sshd).parents[2].glob("usr/lib/*/libwrap.so*"):
        (libraries / file.name).symlink_to(file)
    subprocess.Popen(
        [sshd, "-D", "-f", str(directory / "sshd_config"), "-E", str(directory / "sshd.log")],
        env={**os.environ, "LD_LIBRARY_PATH": str(libraries)},
    )
    known = [*ADDRESSES[:-1], *NAMES]
    lines = [f"{','.join(known)} {host_key}", f"{','.join(f'[{name}]:2222' for name in known)} {host_key}"]
    (home / ".ssh" / "known_hosts").write_text("\n".join([*lines, f"the-rack {host_key}"]) + "\n", encoding="utf-8")
    run("ssh-keygen", "-q", "-H", "-f", home / ".ssh" / "known_hosts")
    socket = directory / "agent"
    run("ssh-agent", "-a", socket)
    os.environ["SSH_AUTH_SOCK"] = str(socket)
    asked = {**os.environ, "SSH_ASKPASS": str(directory / "secret"), "SSH_ASKPASS_REQUIRE": "force"}
    (directory / "secret").write_text("#!/bin/sh\necho secret\n", encoding="utf-8")
    (directory / "secret").chmod(0o755)
    for name in ("held", "encrypted"):
        run("ssh-add", home / ".ssh" / name, env=asked)
    (home / ".ssh" / "held").unlink()
    return host_key


def write(directory: Path, case: Inventory, values: dict[str, str]) -> Path:
    """The files of an inventory; returns the entry, its directory where there are variables beside it."""
    for name, text in case.files.items():
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        filled = text
        for word, value in values.items():
            filled = filled.replace(f"{{{word}}}", value)
        file.write_text(filled, encoding="utf-8")
        if filled.startswith("#!"):
            file.chmod(0o755)
    return directory / next(iter(case.files))


def ansible(inventory: Path) -> dict[str, bool]:
    """What `ansible -m ping` says of each host."""
    words = ["ansible", "nodes", "-i", str(inventory), "-m", "ansible.builtin.ping"]
    more = {
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_SSH_CONTROL_PATH_DIR": f"{inventory.parent}/c",
    }
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120, env={**os.environ, **more})
    marks = {" | SUCCESS": True, " | UNREACHABLE": False, " | FAILED": False}
    found = {
        line.partition(mark)[0]: good
        for line in done.stdout.splitlines()
        for mark, good in marks.items()
        if mark in line
    }
    return found or {"error": (done.stderr + done.stdout)[-500:]}  # type: ignore[dict-item]


def harness(inventory: Path) -> dict[str, Any]:
    """What the connection step of `harness check` says of each host: True, or why not."""
    from harness.errors import HarnessError
    from harness.nodes.local import LocalTransport
    from harness.nodes.read_inventory import load_cluster
    from harness.nodes.ssh import SshTransport

    found: dict[str, Any] = {}
    try:
        cluster = load_cluster(inventory)
    except HarnessError as error:
        return {"error": str(error)}
    for node in cluster.nodes:
        transport = LocalTransport(node) if node.local else SshTransport(node)
        try:
            program = 'import sys; input(); print(\'{"frame": "fine"}\')'
            transport.request([*node.interpreter, "-c", program], {}, timeout=20)
            found[node.name] = True
        except HarnessError as error:
            found[node.name] = str(error)
        finally:
            transport.close()
        found[f"{node.name} is"] = [node.address, node.user, node.ssh_port]
    return found


def main() -> None:
    directory, sshd = Path(sys.argv[1]), sys.argv[2]
    home = make_system(directory)
    os.environ |= {
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "LC_ALL": "C.UTF-8",
    }
    host_key = serve(directory, sshd, home)
    secret = {**os.environ, "ANSIBLE_VAULT_PASSWORD_FILE": str(home / "vault-password")}
    vaulted = run("ansible-vault", "encrypt_string", "pi", env=secret).split("\n")[1:]
    time.sleep(1)
    more = {"home": str(home), "host_key": host_key, "vaulted": "\n".join(vaulted)}
    chosen = sys.argv[3:] or list(CASES)
    with multiprocessing.get_context("fork").Pool(AT_ONCE, maxtasksperchild=1) as pool:
        asked = [(name, directory / f"i{number}", more) for number, name in enumerate(chosen)]
        answers = dict(zip(chosen, pool.starmap(answer, asked, chunksize=1), strict=True))
    print(json.dumps(answers))


def answer(name: str, place: Path, values: dict[str, str]) -> dict[str, Any]:
    """What both say of one inventory; in a process of its own, whose environment it changes."""
    case = CASES[name]
    inventory = write(place, case, {**values, "dir": str(place)})
    for variable, value in case.environment.items():
        os.environ[variable] = value.replace("{home}", values["home"]).replace("{dir}", str(place))
    return {"ansible": ansible(inventory), "harness": harness(inventory)}


if __name__ == "__main__":
    main()
