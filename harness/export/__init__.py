"""Runs in the forms other tools read."""
