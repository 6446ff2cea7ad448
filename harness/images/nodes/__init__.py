"""What makes a card one node's: its settings, first-boot files, host key and image."""
