"""Makes, proves and writes the SD card images of the nodes; run by the image roles as `python -m images STEP`.

Standard library and `harness.errors` only.
"""
