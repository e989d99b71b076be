"""A chat model behind vLLM's OpenAI server. `settings` declares the engine; `engine` is the engine."""
