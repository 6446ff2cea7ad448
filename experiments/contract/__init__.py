"""What nodes and controller agree on; the harness has a link to `wire.py`."""
