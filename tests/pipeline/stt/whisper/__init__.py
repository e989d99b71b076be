"""Tests of Whisper through transformers."""
