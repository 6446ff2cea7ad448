"""Writes an image to a card, after refusing what is no card."""
