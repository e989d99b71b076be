"""A run's folder on the disk: turns, spans, `run.json`, recordings."""
