"""What a node says of itself while ranks run there."""
