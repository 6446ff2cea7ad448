"""From the watts that power.csv has to joules: of a trial, an epoch, an accuracy, a node."""
