"""Tests of the engines' declarations, the registry, and engines of other packages."""
