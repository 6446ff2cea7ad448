"""Boots an image in an emulated board, or runs its programs, on this machine."""
