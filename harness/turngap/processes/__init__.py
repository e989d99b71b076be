"""The processes around a run: agent, span receiver, GPU and process samplers; and what machine it is."""
