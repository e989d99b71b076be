"""The registry forgets the packages of a test."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from turngap_agent.engines import registry


@pytest.fixture(autouse=True)
def forget_packages() -> Iterator[None]:
    """Entry points are read once in a process: here, once in a test."""
    registry._entry_points.cache_clear()
    yield
    registry._entry_points.cache_clear()
    for module in ("my_engines", "other_engines"):
        sys.modules.pop(module, None)
