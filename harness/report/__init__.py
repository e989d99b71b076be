"""The HTML report: one self-contained file, rendered from a run folder alone."""
