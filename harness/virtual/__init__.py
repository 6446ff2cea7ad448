"""The virtual cluster: root file system, namespaces, links, CPU quotas."""
