"""Spans of agents that know nothing of turngap: what they mean, and on which clock they are. Pure, but for loading."""
