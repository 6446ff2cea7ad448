"""The run directory: rows, manifest, logs, checkpoints."""
