"""The report: analysis, figures and page, made from a run directory alone."""
