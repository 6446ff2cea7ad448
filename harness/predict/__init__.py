"""Prediction: a cost model fitted to a run's measured trials, with its error on cluster sizes it has not seen."""
