"""Verbs that run programs, and those that show what would be run."""
