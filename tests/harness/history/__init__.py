"""Tests of the history of a folder of runs."""
