"""Corpora of recorded turns."""
