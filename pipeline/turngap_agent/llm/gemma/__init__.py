"""Gemma 3 27B's exact architecture with random weights, on torch alone: its time and memory on a GPU without vLLM.

The words are scripted, the work is real. `settings` declares the engine; `engine` is the engine.
"""
