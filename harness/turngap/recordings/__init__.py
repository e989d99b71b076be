"""Recordings of finished calls: two channels become turns, with the uncertainty of ends that are found, not known."""
