"""What the cards of all nodes begin with: Debian from its packages, or the user's Raspberry Pi OS."""
