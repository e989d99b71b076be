"""Tests of what the engines on torch share."""
