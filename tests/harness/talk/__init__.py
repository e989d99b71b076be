"""Tests of `turngap talk`."""
