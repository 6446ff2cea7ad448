"""Verbs about the nodes: virtual or real, their state and their set-up."""
