"""The virtual cluster: systemd-nspawn nodes on a switch of network namespaces, with a Pi's links and share of CPU.

`harness.virtual.cluster` is the way in; nothing above the transport needs to know that the nodes are virtual.
"""
