"""The virtual cluster: systemd-nspawn nodes on a switch of network namespaces, with a Pi's links and share of CPU.

`up.up`, `down.down` and `cluster` are the way in; nothing above the transport needs to know that nodes are virtual.

What it imitates: separate systems with their own systemd, sshd, host keys, disks and firewalls; links of a stated rate both
ways; a stated share of CPU (`profile.RULE`); a memory limit. What it does not:

- The share of CPU is the ratio of SGEMM rates. A board's memory, caches, disk (SD card) and network stack have other ratios:
  what is not matrix multiplication may be several times too fast or too slow.
- A share is time on a fast core, not a slow core: a thread runs at full speed and then waits for its next period of 10 ms.
- Nodes and switch are one machine: when their shares, and the kernel's own work for their packets, exceed it, they
  compete. `up` warns of the first; the second shows as steps that get longer with the number of nodes beyond the wire's bound.
- /proc shows a node the machine's processors and memory; its own memory limit is the control group's.
- All nodes have one clock: skew is always zero.
"""
