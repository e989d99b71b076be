"""Tests of engines as replicas."""
