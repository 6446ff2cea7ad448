"""What a virtual cluster uses on its host: namespaces, control groups, disks."""
