"""How numbers are written and figures look: what report and predict share. Pure."""
