"""Volunteers: nodes that come and go train one model by tasks, of which each stands by itself, for a coordinator."""
