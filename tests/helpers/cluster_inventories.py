# ruff: noqa: E501 - lines of inventories as they are written
"""Inventories shaped as those of well-known Pi clusters, with other addresses, and what Ansible makes of each.

`{home}` is the user's home, `{dir}` the inventory's directory. Boards are 192.168.1.10 to .16; 192.168.1.1 is a bastion.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Inventory:
    """Files of one inventory, its entry first, and the environment that its project sets."""

    files: dict[str, str]
    reachable: bool = True
    environment: dict[str, str] = field(default_factory=dict)


K3S = """\
[master]
192.168.1.10

[node]
192.168.1.[11:12]

[nodes:children]
master
node

[nodes:vars]
ansible_user=pi
"""

CASES: dict[str, Inventory] = {
    "names that are addresses, by range": Inventory({"hosts.ini": K3S}),
    "short and local names with addresses": Inventory(
        {
            "hosts.ini": "[control_plane]\nnode1.local ansible_host=192.168.1.10\n[workers]\nnode2 ansible_host=192.168.1.11\n"
            "[nodes:children]\ncontrol_plane\nworkers\n[nodes:vars]\nansible_user='pi'\n"
        }
    ),
    "variables by their earlier names": Inventory(
        {
            "inventory": "[nodes]\nboard ansible_ssh_host=192.168.1.12 ansible_ssh_port=2222 ansible_ssh_user=ubuntu "
            "ansible_ssh_private_key_file={home}/.ssh/id_ed25519\n"
        }
    ),
    "names alone, that the network knows": Inventory({"hosts": "[nodes]\npi[01:03]\n[nodes:vars]\nansible_user=pi\n"}),
    "names in .local": Inventory(
        {"hosts.yml": "nodes:\n  hosts:\n    a: {ansible_host: turing1.local}\n  vars: {ansible_user: pi}\n"}
    ),
    "aliases of ~/.ssh/config": Inventory({"hosts.ini": "[nodes]\nrack-a\nrack-b\n"}),
    "an alias as ansible_host": Inventory(
        {"hosts.yml": "nodes: {hosts: {pi05: {ansible_host: rack-b}}, vars: {ansible_user: pi}}\n"}
    ),
    "a bastion in ~/.ssh/config": Inventory({"hosts.ini": "[nodes]\nbehind node_address=192.168.1.14\n"}),
    "a bastion as ProxyCommand": Inventory(
        {
            "hosts.yml": "nodes:\n  hosts: {pi06: {ansible_host: 192.168.1.15}}\n  vars:\n    ansible_user: pi\n"
            "    ansible_ssh_common_args: '-o ProxyCommand=\"ssh -W %h:%p -q pi@192.168.1.1\"'\n"
        }
    ),
    "a bastion as -J, and another port": Inventory(
        {
            "hosts.ini": "[nodes]\npi06 ansible_host=192.168.1.15 ansible_port=2222\n[nodes:vars]\nansible_user=pi\n"
            "ansible_ssh_extra_args='-J pi@192.168.1.1:2222'\n"
        }
    ),
    "a password": Inventory(
        {
            "hosts.ini": "[nodes]\npi01 ansible_host=192.168.1.10\n[nodes:vars]\nansible_user=admin\nansible_ssh_pass=raspberry\n"
        }
    ),
    "a wrong password": Inventory(
        {
            "hosts.ini": "[nodes]\npi01 ansible_host=192.168.1.10\n[nodes:vars]\nansible_user=admin\nansible_password=banana\n"
        },
        reachable=False,
    ),
    "a value in a vault": Inventory(
        {
            "hosts.yml": "nodes:\n  hosts: {a: {ansible_host: 192.168.1.11}}\n  vars:\n    ansible_user: !vault |\n{vaulted}\n"
        },
        environment={"ANSIBLE_VAULT_PASSWORD_FILE": "{home}/vault-password"},
    ),
    "templates": Inventory(
        {
            "hosts.yml": "nodes:\n  hosts: {a: {number: 1}, b: {number: 2}}\n  vars:\n    net: 192.168.1\n"
            "    ansible_host: \"{{ net }}.{{ 10 + number }}\"\n    ansible_user: \"{{ lookup('ansible.builtin.env', 'BOARD_USER') }}\"\n"
        },
        environment={"BOARD_USER": "pi"},
    ),
    "a public key, the private one in the agent": Inventory(
        {
            "hosts.ini": "[nodes]\na ansible_host=192.168.1.10 ansible_user=keys "
            "ansible_ssh_private_key_file={home}/.ssh/held.pub ansible_ssh_common_args='-o IdentitiesOnly=yes'\n"
        }
    ),
    "an encrypted key that the agent has": Inventory(
        {
            "hosts.ini": "[nodes]\na ansible_host=192.168.1.10 ansible_user=keys "
            "ansible_ssh_private_key_file={home}/.ssh/encrypted ansible_ssh_common_args='-o IdentitiesOnly=yes'\n"
        }
    ),
    "a key of the agent beside a named one": Inventory(
        {
            "hosts.ini": "[nodes]\na ansible_host=192.168.1.10 ansible_user=keys "
            "ansible_ssh_private_key_file={home}/.ssh/id_ed25519\n"
        }
    ),
    "no checks of host keys, by ssh's option": Inventory(
        {
            "hosts.ini": "[nodes]\na ansible_host=192.168.1.16 ansible_user=pi "
            "ansible_ssh_common_args='-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null'\n"
        }
    ),
    "no checks of host keys, by Ansible's variable": Inventory(
        {
            "hosts.yml": "nodes: {hosts: {a: {ansible_host: 192.168.1.16}}, vars: {ansible_user: pi, ansible_host_key_checking: false,"
            " ansible_ssh_common_args: -o UserKnownHostsFile=/dev/null}}\n"
        }
    ),
    "a host key that nobody knows": Inventory(
        {"hosts.ini": "[nodes]\na ansible_host=192.168.1.16 ansible_user=pi\n"}, reachable=False
    ),
    "a key that does not fit": Inventory(
        {
            "hosts.ini": "[nodes]\na ansible_host=192.168.1.10 ansible_user=keys ansible_ssh_common_args='-o IdentityAgent=none'\n"
        },
        reachable=False,
    ),
    "a port where nobody listens": Inventory(
        {"hosts.ini": "[nodes]\na ansible_host=192.168.1.10 ansible_port=2200 ansible_user=pi ansible_ssh_retries=0\n"},
        reachable=False,
    ),
    "a Python that is looked for": Inventory(
        {
            "hosts.ini": "[nodes]\na ansible_host=192.168.1.10\nb ansible_host=192.168.1.11 ansible_python_interpreter=auto_silent\n"
            "[nodes:vars]\nansible_user=pi\nansible_python_interpreter=auto\n"
        }
    ),
    "a program that prints the inventory": Inventory(
        {
            "inventory.py": "#!/usr/bin/python3\nimport json\nprint(json.dumps({'nodes': {'hosts': ['x'], 'vars': {'ansible_user': 'pi'}},"
            "'_meta': {'hostvars': {'x': {'ansible_host': '192.168.1.13'}}}}))\n"
        }
    ),
    "group_vars and host_vars": Inventory(
        {
            "hosts.yml": "nodes: {hosts: {pi01: , pi02: }}\n",
            "group_vars/nodes.yml": "ansible_user: pi\nansible_port: 2222\n",
            "host_vars/pi01.yml": "ansible_host: 192.168.1.13\nansible_port: 22\n",
            "host_vars/pi02.yml": "ansible_host: 192.168.1.12\n",
        }
    ),
    "a head board that is controller and node": Inventory(
        {
            "hosts.ini": "[nodes]\nhead ansible_connection=local\npi01 ansible_host=192.168.1.10\n[nodes:vars]\nansible_user=pi\n"
        }
    ),
    "host keys pinned beside the inventory": Inventory(
        {
            "hosts.yml": "nodes:\n  hosts: {pi07: {ansible_host: 192.168.1.16}}\n  vars:\n    ansible_user: pi\n"
            "    cluster_known_hosts: known_hosts\n    ansible_ssh_common_args: >-\n      -o StrictHostKeyChecking=yes\n"
            '      -o GlobalKnownHostsFile=/dev/null -o UserKnownHostsFile="{{ inventory_dir }}/{{ cluster_known_hosts }}"\n',
            "known_hosts": "192.168.1.16 {host_key}\n",
        }
    ),
    "a host key known by another name": Inventory(
        {
            "hosts.ini": "[nodes]\na ansible_host=192.168.1.16 ansible_user=pi ansible_ssh_common_args='-o HostKeyAlias=the-rack'\n"
        }
    ),
    "an ansible.cfg of the project": Inventory(
        {
            "hosts.ini": "[nodes]\n192.168.1.10\n",
            "ansible.cfg": "[defaults]\nremote_user = ubuntu\nprivate_key_file = {home}/.ssh/a key\ntimeout = 5\n"
            "[ssh_connection]\nssh_args = -o IdentitiesOnly=yes\n",
        },
        environment={"ANSIBLE_CONFIG": "{dir}/ansible.cfg"},
    ),
    "connections by their full name": Inventory(
        {
            "hosts.ini": "[nodes]\na ansible_host=192.168.1.10 ansible_connection=ansible.builtin.ssh\n"
            "b ansible_host=192.168.1.11 ansible_connection=ssh ansible_ssh_executable={home}/my-ssh\n[nodes:vars]\nansible_user=pi\n"
        }
    ),
}
