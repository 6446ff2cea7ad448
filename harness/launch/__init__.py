"""One trial's ranks: placed, started, watched and stopped."""
