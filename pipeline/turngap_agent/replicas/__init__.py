"""Engines as replicas on several GPUs or machines, placed by Ray Serve; a call keeps to one of each engine's."""
