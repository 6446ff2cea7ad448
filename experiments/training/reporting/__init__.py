"""What a worker tells of itself: its events, what an epoch cost, and where the time went."""
