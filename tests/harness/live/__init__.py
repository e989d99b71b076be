"""Tests of the live smoke call."""
