"""The vocabulary of all other packages: what a call recorded, a scored turn, a run's figures, its result."""
