"""Faults in an agent on purpose, over real calls: what callers hear, and whether service is back."""
