#!/usr/bin/python
"""Ansible module: wait until every peer answers on a port, open or not."""

from __future__ import annotations

DOCUMENTATION = r"""
module: reach_peers
short_description: Wait until every peer answers on a TCP port
description:
  - All peers at once, from one process on the node.
  - A refused connection is an answer; the peer is up, and no firewall on the way has dropped the packet.
options:
  addresses: {type: list, elements: str, required: true, description: IPv4 addresses of the peers.}
  port: {type: int, required: true, description: TCP port to try.}
  seconds: {type: float, default: 60, description: When to give up.}
"""

import errno
import selectors
import socket
import time

from ansible.module_utils.basic import AnsibleModule

ATTEMPT_SECONDS = 3.0
ANSWERS = (0, errno.ECONNREFUSED)


def attempt(addresses, port, seconds):
    """Addresses that did not answer one connection attempt each, all made at once."""
    waiting = {}
    silent = []
    with selectors.DefaultSelector() as selector:
        for address in addresses:
            peer = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            peer.setblocking(False)
            error = peer.connect_ex((address, port))
            if error == errno.EINPROGRESS:
                selector.register(peer, selectors.EVENT_WRITE, address)
                waiting[address] = peer
                continue
            peer.close()
            if error not in ANSWERS:
                silent.append(address)
        end = time.monotonic() + seconds
        while waiting and time.monotonic() < end:
            for key, _ in selector.select(max(0.0, end - time.monotonic())):
                error = key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                selector.unregister(key.fileobj)
                waiting.pop(key.data).close()
                if error not in ANSWERS:
                    silent.append(key.data)
        for peer in waiting.values():
            peer.close()
    return silent + list(waiting)


def main():
    module = AnsibleModule(
        argument_spec={
            "addresses": {"type": "list", "elements": "str", "required": True},
            "port": {"type": "int", "required": True},
            "seconds": {"type": "float", "default": 60},
        },
        supports_check_mode=True,
    )
    end = time.monotonic() + module.params["seconds"]
    silent = module.params["addresses"]
    while silent:
        silent = attempt(silent, module.params["port"], min(ATTEMPT_SECONDS, max(0.5, end - time.monotonic())))
        if silent and time.monotonic() >= end:
            break
        if silent:
            time.sleep(1)
    if silent:
        module.fail_json(
            msg="no answer from {} on TCP port {} within {:.0f} s. Try: whether they are up and cabled; site.yml without "
            "--limit, since a node's firewall must know all others".format(
                ", ".join(sorted(silent)), module.params["port"], module.params["seconds"]
            )
        )
    module.exit_json(changed=False)


if __name__ == "__main__":
    main()
