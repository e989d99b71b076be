"""Gemma 3 27B, or any chat model, on vLLM: command line, supervision, client, and the engine made of them."""
