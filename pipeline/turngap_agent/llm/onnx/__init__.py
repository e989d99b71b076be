"""A Llama-shaped chat model on ONNX Runtime, for a CPU."""
