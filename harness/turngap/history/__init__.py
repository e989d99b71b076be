"""A folder of runs over time: what was measured of which build, and where it changed."""
