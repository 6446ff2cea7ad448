"""The training program that runs on nodes. It never imports the harness, and imports MXNet only where it is used."""
