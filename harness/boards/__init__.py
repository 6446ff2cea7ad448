"""From boards that run to an inventory: found on a network that was named, their host keys pinned."""
