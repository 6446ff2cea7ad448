"""Clusters: the medium of virtual nodes, the password of sudo, and what playbooks ask a node."""

from __future__ import annotations

from tests.mutations.mutation import mutations

_LINK = "virtual/test_virtual_link.py"
_BECOME = "nodes/test_become.py"
_NODE_USE = "nodes/test_node_use.py"

MUTATIONS = [
    *mutations(
        "virtual clusters",
        "harness/virtual/link.py",
        _LINK,
        ("latency=self.latency * factor", "latency=self.latency / factor"),
        ("(MOST_LOSS if name", "(1.0 if name"),
        ('(0.01 if name == "loss" else', '(1.0 if name == "loss" else'),
    ),
    *mutations(
        "virtual clusters",
        "harness/virtual/host/medium.py",
        _LINK,
        ("share // len(stations), link.rate", "share, link.rate"),
        ("(_ACCESS_POINT, _OF_RELAYED, half // 2,", "(_ACCESS_POINT, _OF_RELAYED, half,"),
        (
            "_OF_RELAYED, half // 2, network.SWITCH_QUEUE)",
            "_OF_RELAYED, half // 2, delay if delayed else network.SWITCH_QUEUE)",
        ),
        ('            f"    meta mark {{ {_RELAYED:#x}, {_FROM_CABLE:#x} }} accept",\n', ""),
        ("_led(_RELAYED, _OF_RELAYED, number)", "_led(_SENT, _OF_RELAYED, number)"),
        ("meta mark {{ {_SENT:#x}, {_FROM_CABLE:#x} }} {lost}", "{lost}"),
    ),
    *mutations(
        "virtual clusters",
        "harness/virtual/inventory.py",
        _LINK,
        ("if shares_medium else {}", "if False else {}"),
    ),
    *mutations(
        "secrets",
        "harness/nodes/connection/resolve.py",
        _BECOME,
        ('    if str(method).removeprefix("ansible.builtin.") != "sudo":', "    if False:"),
        (
            "{name: templar.template(everything[name]) for name in names if name in everything}\n    kept",
            "{name: everything[name] for name in names if name in everything}\n    kept",
        ),
        ("if BECOME_PASSWORD_FILE else {}", "if False else {}"),
    ),
    *mutations(
        "secrets",
        "harness/nodes/inventory.py",
        _BECOME,
        ("    become_password: str | None = field(default=None, repr=False)", "    become_password: str | None = None"),
    ),
    *mutations(
        "secrets",
        "harness/nodes/agent.py",
        _BECOME,
        ("    if node.become_password and node.supervisor == wire.SUPERVISOR_SYSTEMD:", "    if node.become_password:"),
    ),
    *mutations(
        "secrets",
        "experiments/agent/processes.py",
        _BECOME,
        ('["-S", "-k", "-p", ""] if', '["-S", "-p", ""] if'),
        ('else ["-n"]), *command]', "else []), *command]"),
    ),
    *mutations(
        "secrets",
        "harness/cli/inputs.py",
        "cli/test_verbs.py::test_the_password_of_sudo_is_asked_for_and_shown_nowhere",
        ("asked_password() if ask_become_pass else None", "None"),
        ('if password := getpass.getpass("BECOME password: "):', 'if password := input("BECOME password: "):'),
    ),
    *mutations(
        "playbooks",
        "ansible/roles/node/library/node_use.py",
        _NODE_USE,
        ("    return found[-1][1] if found else None", "    return found[0][1] if found else None"),
        ("os.stat(os.path.dirname(path)).st_ctime", "0"),
        ("if CODE_NAME.fullmatch(name)]", "]"),
        ("    if not os.path.isdir(code):\n        return None\n", ""),
        ('not isinstance(answer, dict) or "held" not in answer', "answer is None"),
        ('held = ask(agent, root, node)["held"] if agent else None', "held = None"),
        ('"-I", "-S", "-B", agent', '"-S", "-B", agent'),
    ),
    *mutations(
        "packages",
        "harness/cli/running/demo.py",
        "cli/test_demo.py",
        ("read_packages([MXNET_PACKAGES], own_architecture())", 'read_packages([MXNET_PACKAGES], "amd64")'),
        ("if not _is_there(_LIBRARY_OF[package])]", "if False]"),
    ),
    *mutations(
        "packages",
        "harness/system/packages.py",
        "cli/test_demo.py",
        ("return _ARCHITECTURES.get(machine, machine)", 'return _ARCHITECTURES.get(machine, "amd64")'),
    ),
    *mutations(
        "packages",
        "Makefile",
        "cli/test_demo.py",
        ("$(ARCHITECTURE)", "amd64"),
    ),
]
