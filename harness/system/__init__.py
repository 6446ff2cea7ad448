"""The controller's own system: commands with limits, files written whole, locks, keys, packages. Standard library only."""
