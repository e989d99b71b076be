"""hibari-tts in ONNX Runtime. `settings` declares the engine; `engine` is the engine."""
