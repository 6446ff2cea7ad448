"""What a trial is going to need and to move, from its parameters alone: nothing is read but the lists, and nothing starts."""
