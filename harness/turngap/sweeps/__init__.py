"""Sweeps: several settings of an agent measured interleaved, and the trade-off between their figures drawn."""
