"""Tests of callers on several machines."""
