"""What the controller and the nodes must agree on: events, columns. Standard library only."""
