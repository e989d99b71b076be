"""Sweeps: several settings of an agent measured interleaved, and the bargain between their figures drawn."""
