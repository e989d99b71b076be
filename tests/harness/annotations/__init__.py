"""The readers of label files."""
