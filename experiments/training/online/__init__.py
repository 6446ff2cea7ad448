"""A home that learns: every node has a stream of labelled images of its own, which never leave it."""
