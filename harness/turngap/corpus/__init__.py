"""Caller audio with its true end of speech: recorded prompts, a synthetic voice, the user's own files."""
