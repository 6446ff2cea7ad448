"""What is looked at on the nodes before anything starts, and by `harness check`."""
