"""A Llama-shaped chat model on ONNX Runtime, in 8 bits. `settings` declares the engine; `engine` is the engine."""
