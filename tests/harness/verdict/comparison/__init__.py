"""Tests of one run against another."""
