"""The pytest plugin: `pytest --benchmark` runs scenario files as tests; the `turngap` fixture measures from a test."""
