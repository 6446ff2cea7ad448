"""The nodes of an inventory, and the way to them: SSH, agent, code."""
