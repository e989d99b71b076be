"""From what a call saw and what the agent's spans say to scored turns. Pure."""
