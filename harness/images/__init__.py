"""Makes, proves and writes the SD card images of the nodes.

`base/` makes what all cards begin with, `nodes/` what makes a card one node's, `emulation/` boots an image here, and `device/`
writes a card. `steps` is what the image roles call, `harness.cli.nodes.image` what a user calls. Standard library only,
besides the harness's own errors, paths and system.
"""
