"""Engines in processes of their own: what kills or holds one of them leaves the agent and all other engines alone."""
