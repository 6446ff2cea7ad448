"""`make bench`: the project's promises, measured in one run on this machine. See docs/how-to/bench.md."""
