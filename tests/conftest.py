"""Settings of all tests: a property is judged by what it gives, never by how long an example took."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("turngap", deadline=None)
settings.load_profile("turngap")
