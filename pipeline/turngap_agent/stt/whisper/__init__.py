"""Whisper and distil-whisper through transformers, on torch: real weights from a folder, or random ones.

`settings` declares the engine; `engine` is the engine.
"""
