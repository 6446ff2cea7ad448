"""The pieces of work: what each is (`Job`), and beside it what workers compute."""
