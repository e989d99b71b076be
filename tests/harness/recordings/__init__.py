"""Tests of recordings of finished calls."""
