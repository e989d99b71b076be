"""Tests of the memory plan and of what the device says."""
