#!/usr/bin/python
"""Ansible module: mask or unmask several systemd units at once."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mask_units
short_description: Stop and mask systemd units, or unmask and start them
description:
  - C(ansible.builtin.systemd_service) takes one unit a call; on a slow node every call is a second.
options:
  units: {type: list, elements: str, required: true, description: Units that are installed.}
  masked: {type: bool, required: true, description: Stop and mask them, or unmask them and start those that are enabled.}
"""

from ansible.module_utils.basic import AnsibleModule


def main():
    module = AnsibleModule(
        argument_spec={
            "units": {"type": "list", "elements": "str", "required": True},
            "masked": {"type": "bool", "required": True},
        },
        supports_check_mode=True,
    )
    units, masked = module.params["units"], module.params["masked"]
    if not units or module.check_mode:
        module.exit_json(changed=bool(units))
    if masked:
        module.run_command(["systemctl", "mask", "--now", *units], check_rc=True)
        module.exit_json(changed=True)
    module.run_command(["systemctl", "unmask", *units], check_rc=True)
    # is-enabled prints one word a unit and fails where any is disabled.
    states = module.run_command(["systemctl", "is-enabled", *units])[1].split()
    wanted = [unit for unit, state in zip(units, states, strict=False) if state in ("enabled", "static")]
    if wanted:
        module.run_command(["systemctl", "start", *wanted], check_rc=True)
    module.exit_json(changed=True, started=wanted)


if __name__ == "__main__":
    main()
