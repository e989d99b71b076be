"""Settings of all tests: a property is judged by what it returns, never by how long an example took.

The user's own Twilio settings are left out: with a token in the environment every agent would ask for signatures.
"""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("turngap", deadline=None)
settings.load_profile("turngap")

for name in [name for name in os.environ if name.startswith("TWILIO_")]:
    del os.environ[name]
