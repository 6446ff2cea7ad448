#!/usr/bin/python
"""Ansible module: who uses a node, as the harness's own agent there says."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_use
short_description: Ask the agent on a node who holds it
description:
  - Asks the newest agent that a harness has sent; where none was sent, no harness holds the node. Changes nothing.
  - Runs as the user that the harness logs in as; nobody else may enter the directories of code and holds.
options:
  root: {type: path, required: true, description: The directory on the node that holds all of ours.}
  node: {type: str, required: true, description: The node's name in the inventory.}
"""

import json
import os
import re
import subprocess
import sys

from ansible.module_utils.basic import AnsibleModule

AGENT_SECONDS = 60
CODE_NAME = re.compile(r"[0-9a-f]{8,64}")


def newest_agent(root):
    """Path of the agent that was sent last; None where none is there. Raises OSError where that cannot be looked up."""
    code = os.path.join(root, "code")
    if not os.path.isdir(code):
        return None
    names = [name for name in os.listdir(code) if CODE_NAME.fullmatch(name)]
    agents = [os.path.join(code, name, "agent") for name in names]
    # When it was put there: what the archive says of its files is always the same.
    found = sorted((os.stat(os.path.dirname(path)).st_ctime, path) for path in agents if os.path.isdir(path))
    return found[-1][1] if found else None


def ask(agent, root, node):
    """What an agent says of its node. Raises ValueError where that is no answer, with what it was instead."""
    # Whether sudo works is not asked, which is what the name of the supervisor would be for.
    request = {"root": root, "node": node, "supervisor": "process"}
    command = [sys.executable, "-I", "-S", "-B", agent, "probe"]
    done = subprocess.run(
        command, input=json.dumps(request) + "\n", capture_output=True, text=True, timeout=AGENT_SECONDS, check=False
    )
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        answer = None
    if not isinstance(answer, dict) or "held" not in answer:
        raise ValueError((done.stdout + done.stderr).strip()[-300:] or "nothing")
    return answer


def main():
    module = AnsibleModule(
        argument_spec={"root": {"type": "path", "required": True}, "node": {"type": "str", "required": True}},
        supports_check_mode=True,
    )
    root, node = module.params["root"], module.params["node"]
    try:
        agent = newest_agent(root)
        held = ask(agent, root, node)["held"] if agent else None
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        module.fail_json(msg=f"{node}: its agent does not say who holds it: {error}. Try: harness status")
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        boot = file.read().strip()
    module.exit_json(changed=False, held=held, boot_id=boot)


if __name__ == "__main__":
    main()
