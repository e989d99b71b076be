"""Tests of the CI templates."""
