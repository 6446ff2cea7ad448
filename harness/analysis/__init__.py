"""From a run's tables to numbers. Pure."""
