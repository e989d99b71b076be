"""The health of the agent's own process, from inside: what blocked its event loop, and what its threads were doing."""
