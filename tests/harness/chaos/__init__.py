"""Tests of `turngap.chaos`."""
