"""Silero VAD at 8 kHz in ONNX Runtime. `settings` declares the engine; `engine` is the engine."""
