"""How many calls an agent holds: open-loop loads, what they show at each point, the knee, and the search for the most."""
