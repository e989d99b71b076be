"""Tests of Gemma on torch."""
