"""What a rank on a virtual node is given so that it computes at a board's speed."""
