"""Tests of the diagnosis of a machine."""
