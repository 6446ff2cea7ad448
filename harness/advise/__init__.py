"""Advice: which way to train together is quickest on some nodes and their link, before anything runs."""
