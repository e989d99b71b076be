"""Every reader takes what is valid, and reads or refuses what is not; `python -m tests.fuzz` goes on for longer."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.mutation import mutate
from tests.fuzz.target import find_fault
from tests.fuzz.targets import TARGETS

SLOW = ("report-", "folder-gpu", "folder-process")
"""They draw a page an example."""
QUICK = [name for name in TARGETS if not name.startswith(SLOW)]


@pytest.mark.parametrize("name", [name for name in TARGETS if not name.startswith(SLOW[1:])])
def test_what_is_valid_is_taken(name: str, tmp_path: Path) -> None:
    """So that what is made of it gets past the first check."""
    for number, data in enumerate(TARGETS[name].seeds()):
        folder = tmp_path / str(number)
        folder.mkdir()
        fault, refused = find_fault(TARGETS[name], data, folder)
        assert not fault, fault
        assert name.startswith(("agent-messages", "signatures", "caller-messages", "twilio-messages")) or not refused


@pytest.mark.parametrize("name", QUICK)
@settings(max_examples=5, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32))
def test_what_is_hostile_is_read_or_refused(name: str, seed: int) -> None:
    """Nothing else is raised, and nothing hangs: the seed makes the same input again."""
    target = TARGETS[name]
    with tempfile.TemporaryDirectory() as folder:
        fault, _ = find_fault(target, mutate(target.seeds(), target.form, random.Random(seed)), Path(folder))
    assert not fault, fault
