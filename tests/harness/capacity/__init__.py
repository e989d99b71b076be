"""Tests of capacity runs."""
