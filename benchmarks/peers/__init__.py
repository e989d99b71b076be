"""Agents of other frameworks on the engines of a profile, measured beside that profile: docs/peers.md."""
