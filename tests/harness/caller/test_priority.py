"""The callers' place before the agent: taken where the system allows it, given back, and never handed to children."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from turngap.caller.priority import OWN_NICE, SWITCH_INTERVAL_S, describe_priority, raised_priority


def test_raised_priority_is_restored() -> None:
    """Inside the block the thread says how it runs; after it, it runs as before."""
    before = describe_priority(), sys.getswitchinterval()
    with raised_priority() as place:
        assert place == describe_priority()
        assert sys.getswitchinterval() == pytest.approx(SWITCH_INTERVAL_S)
    assert (describe_priority(), sys.getswitchinterval()) == before
    assert os.getpriority(os.PRIO_PROCESS, 0) == OWN_NICE


def test_children_run_as_anybody() -> None:
    """An agent started inside the block does not inherit real time."""
    with raised_priority():
        code = "import os; print(os.sched_getscheduler(0))"
        policy = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(policy) == os.SCHED_OTHER


def test_a_refusal_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the right to it the callers stay where they are, and the place says so."""

    def refuse(*_: object) -> None:
        raise PermissionError(1, "not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    monkeypatch.setattr(os, "setpriority", lambda *_: None)
    with raised_priority() as place:
        assert place == f"niceness {OWN_NICE}"
