"""`ansible-inventory --list`, with each host's variables as Ansible would use them, and its ssh command.

Run as a program of its own, with the arguments of `ansible-inventory`: Ansible's modules are slow to import, and change the
process that they are in. Values are decrypted and templated by Ansible, and its own connection plugin puts the options
together: configuration, environment, and all variables with their earlier names. No node is asked.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from functools import cache
from typing import Any

from ansible.cli.inventory import InventoryCLI
from ansible.constants import BECOME_PASSWORD_FILE, DEFAULT_BECOME_METHOD, DEFAULT_TRANSPORT, config
from ansible.errors import AnsibleError, AnsibleUndefinedVariable
from ansible.playbook.play_context import PlayContext
from ansible.plugins.loader import become_loader, connection_loader
from ansible.template import Templar

from harness.nodes.connection.names import BECOME_PASSWORD, BECOME_PASSWORD_PIPE, CONNECTION, OURS, is_ssh

_OPTION = {
    "host": "ansible_host",
    "port": "ansible_port",
    "remote_user": "ansible_user",
    "private_key_file": "ansible_ssh_private_key_file",
}
"""Options of Ansible's ssh connection, and the variable that says each today."""

_NO_PASSWORD = (
    "KbdInteractiveAuthentication=no",
    "PreferredAuthentications=gssapi-with-mic,gssapi-keyex,hostbased,publickey",
    "PasswordAuthentication=no",
)
"""What Ansible adds where there is no password."""


class ResolvedInventory(InventoryCLI):  # type: ignore[misc]
    """Ansible's command with other values of hosts."""

    def _get_host_variables(self, host: Any) -> dict[str, Any]:
        """The variables that the harness reads, as they are when they are used."""
        everything = self.vm.get_vars(host=host, include_hostvars=True)
        if host.name not in everything.get("groups", {}).get("nodes", ()):
            return {}
        return resolved(everything, Templar(loader=self.loader, variables=everything))

    @staticmethod
    def dump(stuff: Any) -> str:
        """Plain JSON: Ansible's own marks values that are not to be templated once more."""
        return json.dumps(plain(stuff))


def plain(value: Any) -> Any:
    """A value without Ansible's marks on texts; pure."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def resolved(everything: Mapping[str, Any], templar: Any) -> dict[str, Any]:
    """What the harness reads of a host's variables. Raises AnsibleError where a connection's options are no good."""
    found = {}
    for name in everything:
        if name.startswith(OURS) and not name.startswith("ansible_"):
            try:
                found[name] = templar.template(everything[name])
            except AnsibleUndefinedVariable:
                continue  # it is made of facts, which nobody has gathered
    said = everything.get("ansible_connection", DEFAULT_TRANSPORT)
    found["ansible_connection"] = templar.template(said)
    if is_ssh(found["ansible_connection"]):
        found |= _ssh(everything, templar)
    elif "ansible_host" in everything or "ansible_ssh_host" in everything:
        found["ansible_host"] = templar.template(everything.get("ansible_host", everything.get("ansible_ssh_host")))
    return found | _become(everything, templar)


def _become(everything: Mapping[str, Any], templar: Any) -> dict[str, Any]:
    """The password that Ansible would tell sudo; nothing where it has none, or becomes root in another way."""
    method = templar.template(everything.get("ansible_become_method", DEFAULT_BECOME_METHOD))
    if str(method).removeprefix("ansible.builtin.") != "sudo":
        return {}
    become = become_loader.get("sudo")
    names = [name for name in config.get_plugin_vars("become", become._load_name) if "pass" in name]
    options = {name: templar.template(everything[name]) for name in names if name in everything}
    become.set_options(task_keys={"become_pass": _told()}, var_options=options)
    password = become.get_option("become_pass")
    return {} if password is None else {BECOME_PASSWORD: str(password)}


@cache
def _told() -> str | None:
    """The password that was typed, else a file's. Ansible has variables before it, and its environment after it."""
    if pipe := os.environ.pop(BECOME_PASSWORD_PIPE, None):
        with os.fdopen(int(pipe), encoding="utf-8") as file:
            return file.read()
    return InventoryCLI.get_password_from_file(BECOME_PASSWORD_FILE) if BECOME_PASSWORD_FILE else None


def _ssh(everything: Mapping[str, Any], templar: Any) -> dict[str, Any]:
    """What Ansible's ssh connection makes of the variables."""
    connection = connection_loader.get("ssh", PlayContext(), os.devnull)
    names = config.get_plugin_vars("connection", connection._load_name)
    options = {name: templar.template(everything[name]) for name in names if name in everything}
    # The one variable that Ansible hands on as a keyword.
    timeout = {"timeout": templar.template(everything["ansible_timeout"])} if "ansible_timeout" in everything else {}
    connection.set_options(task_keys=timeout, var_options=options)
    if connection._options.get("private_key"):
        raise AnsibleError("ansible_private_key is not supported. Try: ansible_ssh_private_key_file")
    password = connection.get_option("password")
    # The command is wanted, and nothing that types a password into it.
    connection.set_option("password", None)
    executable = connection.get_option("ssh_executable")
    words = [word.decode() for word in connection._build_command(executable, "ssh")]
    if password:
        words = without(words, _NO_PASSWORD)
    variables = {variable: connection.get_option(option) for option, variable in _OPTION.items()}
    interpreter = config.get_config_value("INTERPRETER_PYTHON", variables=dict(everything))
    interpreter = templar.template(interpreter)
    fallback = config.get_config_value("INTERPRETER_PYTHON_FALLBACK", variables=dict(everything))
    return {
        **{variable: value for variable, value in variables.items() if value is not None},
        "ansible_python_interpreter": interpreter,
        CONNECTION: {
            "command": words,
            "timeout": connection.get_option("timeout"),
            "attempts": int(connection.get_option("reconnection_retries")) + 1,
            "password": password,
            "pythons": fallback,
        },
    }


def without(words: list[str], options: tuple[str, ...]) -> list[str]:
    """An ssh command without some of its `-o NAME=VALUE`; pure."""
    kept: list[str] = []
    for word in words:
        if word in options and kept and kept[-1] == "-o":
            kept.pop()
        else:
            kept.append(word)
    return kept


if __name__ == "__main__":
    ResolvedInventory.cli_executor(["ansible-inventory", *sys.argv[1:]])
