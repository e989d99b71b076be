"""One phone call: what is heard, decided, answered and played."""
