"""What a weight takes; apart from settings and network, so that either is imported without the other's packages."""

from __future__ import annotations

INT4_BYTES = 0.5 + 4 / 128
"""A weight of 4 bits, and a scale and zero point of 2 bytes each for 128 of them."""
