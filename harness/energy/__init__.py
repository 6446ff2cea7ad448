"""What nodes, switch and controller draw: meters that are asked while a sweep runs, and estimates where there is none."""
