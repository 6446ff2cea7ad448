"""Medians with intervals, ratios of neighbours in time, and the time to an accuracy. Pure."""
