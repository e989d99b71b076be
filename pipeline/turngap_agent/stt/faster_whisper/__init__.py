"""Whisper on faster-whisper (CTranslate2). `settings` declares the engine; `engine` is the engine."""
