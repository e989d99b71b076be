"""The language model on vLLM."""
