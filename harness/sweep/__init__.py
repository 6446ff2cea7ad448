"""All trials of one experiment, run one after the other."""
