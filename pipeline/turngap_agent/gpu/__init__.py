"""The one GPU that the engines share: which it is, its memory, what prevents its use, and MPS."""
