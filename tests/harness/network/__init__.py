"""Tests of the simulated networks."""
