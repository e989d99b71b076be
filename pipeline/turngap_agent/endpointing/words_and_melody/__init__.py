"""A turn model that reads the words and may hear the melody. `settings` declares the engine; `engine` is the engine."""
