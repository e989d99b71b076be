"""Tests of the platforms' wire formats."""
