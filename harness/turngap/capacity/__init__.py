"""How many calls an agent holds: open-loop loads, what each of them shows, the knee, and the search for the most."""
