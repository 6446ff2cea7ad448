"""The page of a run while it goes on: what its files say, as one document, and the server on loopback that shows it."""
