"""Mutations made by hand: each makes one place of the code wrong, where it matters, and a test must notice."""
