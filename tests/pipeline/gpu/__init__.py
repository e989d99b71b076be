"""Tests of which GPU is used and how it is shared; NVML is faked by its documented functions."""
