"""Tests of the forms other tools read."""
