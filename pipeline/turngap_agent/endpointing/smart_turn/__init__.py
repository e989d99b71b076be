"""Smart Turn v3.2 in ONNX Runtime. `settings` declares the engine; `engine` is the engine."""
