"""Programs that are many independent tasks, on Dask's workers or by volunteers. It never imports the harness."""
