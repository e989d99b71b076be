"""Traces that ui.perfetto.dev opens: a turn's stages, the agent's threads and what held them up. Pure."""
