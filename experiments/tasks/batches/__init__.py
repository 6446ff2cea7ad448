"""Work in batches that are sized by the measured rates of those who do it."""
