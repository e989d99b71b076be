"""Statistics, budgets, the gate, and run against run. Pure."""
