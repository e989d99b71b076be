"""Tests of which GPU is used and how it is shared; NVML faked by its documented functions."""
