"""Runs as wholes: side by side, and packed to be kept."""
