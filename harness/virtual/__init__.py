"""The virtual cluster: systemd-nspawn nodes on a switch or on one medium, in network namespaces, with a Pi's links and speed.

Entry points: `up.up`, `down.down` and `cluster`. Nothing above the transport needs to know that nodes are virtual.

What it imitates: separate systems with their own systemd, sshd, host keys, disks and firewalls; links of a stated rate both
ways, or one half-duplex medium of a stated rate for all (`--link wifi`); threads that compute at a stated speed
(`cpu.profile.RULE`); a memory limit. What it does not:

- The speed is the ratio of rates for small convolutions. A board's memory, caches, disk (SD card) and network stack have other
  ratios: what is not a small network may be several times too fast or too slow.
- Threads of a node are held to their speed one by one, not together: a node has as many cores as it has threads that compute.
- Nodes and switch are one machine: when their shares, and the kernel's own work for their packets, exceed it, they
  compete. `up` warns of the first; the second shows as steps that get longer with the number of nodes beyond the wire's bound.
- /proc shows a node the machine's processors and memory; its own memory limit is the control group's.
- All nodes have one clock: skew is always zero.
"""
