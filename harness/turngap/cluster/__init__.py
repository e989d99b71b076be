"""Callers in several processes or on the nodes of a Ray cluster, which share the calls of one run; runs as its jobs."""
